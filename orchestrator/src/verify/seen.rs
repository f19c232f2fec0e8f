//! What a worker says was seen in a window: is it pictures at times within it? Pure; `verify.rs` brings the bytes.

use millrace_proto::{
    offer::Capability,
    task::Look,
    vision::{Place, Sight, Sights},
};

/// Categories of one picture at most.
const CATEGORIES_MAX: usize = 16;
/// Things of one picture at most.
const THINGS_MAX: usize = 100;
/// Bytes of a name.
const NAME_BYTES_MAX: usize = 100;
/// Numbers of what something looks like, at most.
const LOOKS_MAX: usize = 2_048;
/// Times are rounded, and a picture may be a keyframe near the time that is asked for.
const SLACK_MS: i64 = 500;
/// Places are rounded, too.
const SLACK: f32 = 0.001;

/// Judges what came of a window. The error says what is wrong, and is the worker's fault.
pub fn judge(work: &Look, bytes: &[u8]) -> Result<Vec<Sight>, String> {
    let sights: Sights = serde_json::from_slice(bytes).map_err(|error| format!("its report can't be read: {error}"))?;
    let (from, to) = (work.start_ms - SLACK_MS, work.end_ms + SLACK_MS);
    if sights.pictures.len() > work.pictures_max() as usize {
        let (count, most) = (sights.pictures.len(), work.pictures_max());
        return Err(format!("it looked at {count} pictures, where at most {most} were to be looked at"));
    }
    let mut before = i64::MIN;
    for sight in &sights.pictures {
        if sight.at_ms < from || sight.at_ms > to || sight.at_ms <= before {
            let (start_ms, end_ms) = (work.start_ms, work.end_ms);
            return Err(format!("a picture at {} ms is out of its place from {start_ms} to {end_ms}", sight.at_ms));
        }
        before = sight.at_ms;
        picture(work, sight).map_err(|what| format!("the picture at {} ms has {what}", sight.at_ms))?;
    }
    // How many there are depends on where frames are, which may be far apart; but there is one.
    if sights.pictures.is_empty() && work.end_ms - work.start_ms >= i64::from(work.every_ms) + 2 * SLACK_MS {
        return Err("it looked at no picture".into());
    }
    Ok(sights.pictures)
}

fn picture(work: &Look, sight: &Sight) -> Result<(), String> {
    let Sight { categories, things, .. } = sight;
    let wanted = match work.capability {
        Capability::Moderation => !categories.is_empty() && things.is_empty(),
        Capability::Products => categories.is_empty(),
        Capability::Captions => false,
    };
    if !wanted || categories.len() > CATEGORIES_MAX || things.len() > THINGS_MAX {
        let counts = (categories.len(), things.len());
        return Err(format!("(categories, things) of {counts:?}: that was not asked for"));
    }
    for category in categories {
        name(&category.name)?;
        score(category.score)?;
    }
    for thing in things {
        name(&thing.label)?;
        score(thing.score)?;
        let Place { x, y, width, height } = thing.place;
        let inside = |start: f32, length: f32| start >= -SLACK && length >= 0.0 && start + length <= 1.0 + SLACK;
        if !inside(x, width) || !inside(y, height) {
            return Err(format!("a thing at {:?}, which is not in it", thing.place));
        }
        if let Some(finer) = &thing.finer {
            for text in [&finer.label, &finer.model, &finer.version] {
                name(text)?;
            }
            score(finer.score)?;
        }
        if let Some(embedder) = &thing.embedder {
            name(&embedder.model)?;
            name(&embedder.version)?;
        }
        if thing.looks.len() > LOOKS_MAX {
            return Err(format!("a thing whose looks are {} numbers", thing.looks.len()));
        }
    }
    Ok(())
}

fn name(text: &str) -> Result<(), String> {
    let plain = !text.trim().is_empty() && text.len() <= NAME_BYTES_MAX && !text.chars().any(char::is_control);
    if plain { Ok(()) } else { Err(format!("{:?}, which is no name", text.chars().take(40).collect::<String>())) }
}

fn score(score: f32) -> Result<(), String> {
    if (0.0..=1.0).contains(&score) { Ok(()) } else { Err(format!("a score of {score}: 0 to 1 was asked for")) }
}

#[cfg(test)]
mod tests {
    use millrace_proto::vision::{Category, Thing};

    use super::*;

    fn work(capability: Capability) -> Look {
        Look { capability, model: None, every_ms: 1_000, preroll: 0, closely: 4, start_ms: 4_000, end_ms: 8_000 }
    }

    fn seen(at_ms: i64) -> Sight {
        let categories = vec![Category { name: "pornography".into(), score: 0.1 }];
        Sight { at_ms, categories, things: Vec::new() }
    }

    fn thing() -> Thing {
        let place = Place { x: 0.5, y: 0.25, width: 0.5, height: 0.5 };
        Thing { label: "cup".into(), score: 0.5, place, finer: None, looks: vec![1, 2], embedder: None }
    }

    fn judged(work: &Look, pictures: Vec<Sight>) -> Result<Vec<Sight>, String> {
        let sights = Sights { start_ms: 4_000, end_ms: 8_000, pictures, decoded: 4 };
        judge(work, &serde_json::to_vec(&sights).unwrap())
    }

    #[test]
    fn what_is_right_is_taken() {
        let all: Vec<_> = [4_000, 5_000, 6_000, 7_000].map(seen).into();
        assert_eq!(judged(&work(Capability::Moderation), all.clone()).unwrap(), all);
        let things = |at_ms| Sight { at_ms, categories: Vec::new(), things: vec![thing()] };
        let all: Vec<_> = [4_000, 5_000, 6_000].map(things).into();
        assert_eq!(judged(&work(Capability::Products), all.clone()).unwrap(), all);
    }

    #[test]
    fn who_did_not_look_is_refused() {
        let refused = |pictures| judged(&work(Capability::Moderation), pictures).unwrap_err();
        assert!(judge(&work(Capability::Moderation), b"[").unwrap_err().contains("can't be read"));
        assert!(refused(Vec::new()).contains("no picture"));
        assert!(refused(vec![seen(3_000)]).contains("out of its place"));
        assert!(refused(vec![seen(5_000), seen(5_000)]).contains("out of its place"));
        assert!(refused((0..9).map(|at| seen(4_000 + at)).collect()).contains("at most"));
        assert!(refused(vec![Sight { at_ms: 4_000, ..Sight::default() }]).contains("not asked for"));
        let too_sure = Category { name: "pornography".into(), score: 1.5 };
        assert!(refused(vec![Sight { categories: vec![too_sure], ..seen(4_000) }]).contains("a score"));
    }

    #[test]
    fn things_are_in_the_picture_and_have_names() {
        let refused = |change: fn(&mut Thing)| {
            let mut thing = thing();
            change(&mut thing);
            let sight = Sight { at_ms: 4_000, categories: Vec::new(), things: vec![thing] };
            judged(&work(Capability::Products), vec![sight]).unwrap_err()
        };
        assert!(refused(|thing| thing.place.x = 0.6).contains("not in it"));
        assert!(refused(|thing| thing.label = " ".into()).contains("no name"));
        assert!(refused(|thing| thing.looks = vec![0; 3_000]).contains("looks"));
        assert!(refused(|thing| thing.score = f32::NAN).contains("read"), "JSON knows no such number");
        let both = Sight { things: vec![thing()], ..seen(4_000) };
        assert!(judged(&work(Capability::Moderation), vec![both]).unwrap_err().contains("not asked for"));
    }
}
