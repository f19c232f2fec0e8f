//! Graphics cards (NVIDIA's) of this machine: which there are, and how many leases at once are offered on each.
//!
//! Found by what the kernel's driver shows of itself, without loading anything of it; what a card does is tried by the
//! media child. Called by `probe`.

use std::{fs, path::Path};

use millrace_media::card::{Card, Tried};

/// Where the driver tells of its cards, one folder each.
const CARDS: &str = "/proc/driver/nvidia/gpus";
const DEVICES: &str = "/dev";

/// Renditions of a usual ladder: each takes a session of the card's encoder.
const RENDITIONS: u64 = 4;
/// Leases at once on one card: its few encoders are busy long before.
const SLOTS_MAX: u64 = 8;
/// What a lease takes of the memory beside its encoders: the driver's context, decoded and scaled pictures.
const LEASE_BYTES: u64 = 600 << 20;
/// Of the free memory so much is left alone, in percent: other programs want some.
const SPARE_PERCENT: u64 = 20;

/// Which cards are wanted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Wanted {
    /// All that there are.
    Auto,
    /// None.
    Off,
    /// Those with these numbers of their device files, whether or not they are seen.
    Only(Vec<u32>),
}

impl std::str::FromStr for Wanted {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "auto" => Ok(Self::Auto),
            "off" => Ok(Self::Off),
            list => {
                let numbers: Result<Vec<u32>, _> = list.split(',').map(str::parse).collect();
                let mut numbers = numbers.map_err(|_| "give auto, off, or numbers as in 0,1".to_owned())?;
                numbers.sort_unstable();
                numbers.dedup();
                Ok(Self::Only(numbers))
            }
        }
    }
}

/// The cards to try.
pub fn find(wanted: &Wanted) -> Vec<Card> {
    choose(wanted, found(Path::new(CARDS), Path::new(DEVICES)))
}

fn choose(wanted: &Wanted, found: Vec<Card>) -> Vec<Card> {
    match wanted {
        Wanted::Auto => found,
        Wanted::Off => Vec::new(),
        Wanted::Only(minors) => {
            let known = |minor: u32| found.iter().find(|card| card.minor == minor).cloned();
            minors.iter().map(|&minor| known(minor).unwrap_or(Card { index: minor, minor, uuid: None })).collect()
        }
    }
}

/// Those that have a device file; what more the driver tells of them. In containers there may be files alone.
fn found(cards: &Path, devices: &Path) -> Vec<Card> {
    let entries = |folder: &Path| fs::read_dir(folder).into_iter().flatten().flatten();
    let number = |name: String| name.strip_prefix("nvidia")?.parse::<u32>().ok();
    let mut minors: Vec<u32> =
        entries(devices).filter_map(|entry| number(entry.file_name().to_string_lossy().into_owned())).collect();
    minors.sort_unstable();
    let told: Vec<(u32, String)> = entries(cards)
        .filter_map(|entry| fs::read_to_string(entry.path().join("information")).ok())
        .filter_map(|text| minor_and_uuid(&text))
        .collect();
    let uuid = |minor: u32| told.iter().find(|(known, _)| *known == minor).map(|(_, uuid)| uuid.clone());
    (0..).zip(minors).map(|(index, minor)| Card { index, minor, uuid: uuid(minor) }).collect()
}

/// What a card's `information` says: lines of a name, a colon and a value.
fn minor_and_uuid(information: &str) -> Option<(u32, String)> {
    let value = |name: &str| {
        let mut lines = information.lines().filter_map(|line| line.split_once(':'));
        lines.find(|(known, _)| known.trim() == name).map(|(_, value)| value.trim().to_owned())
    };
    let uuid = value("GPU UUID").filter(|uuid| {
        let rest = uuid.strip_prefix("GPU-").unwrap_or_default();
        !rest.is_empty() && rest.bytes().all(|byte| byte.is_ascii_hexdigit() || byte == b'-')
    })?;
    Some((value("Device Minor")?.parse().ok()?, uuid))
}

/// Leases at once on a card that was seen to do this; none where it neither encodes nor decodes.
pub fn slots(tried: &Tried) -> u32 {
    if tried.able.encodes.is_empty() && tried.able.decodes.is_empty() {
        return 0;
    }
    let free = tried.memory_free_bytes / 100 * (100 - SPARE_PERCENT);
    let by_memory = free / (LEASE_BYTES + RENDITIONS * tried.session_bytes);
    let by_sessions = if tried.able.encodes.is_empty() { SLOTS_MAX } else { u64::from(tried.sessions) / RENDITIONS };
    by_memory.min(by_sessions).min(SLOTS_MAX) as u32
}

/// Leases at once on the whole machine, unless its operator says otherwise: as many as its cards that encode take, or
/// else as many as there are cores. Cores beside such cards are left to what the cards refuse: segments of one stream
/// that come from two kinds of encoder have two headers.
pub fn slots_in_all(tried: &[Tried], cores: u32) -> u32 {
    let encoding: u32 = tried.iter().filter(|card| !card.able.encodes.is_empty()).map(slots).sum();
    if encoding > 0 { encoding } else { cores.max(1) }
}

#[cfg(test)]
mod tests {
    use millrace_media::card::{Able, Tools};
    use millrace_proto::profile::VideoCodec;

    use super::*;

    const GIB: u64 = 1 << 30;

    fn tried(sessions: u32, session_bytes: u64, memory_free_bytes: u64) -> Tried {
        let encodes = if sessions > 0 { vec![(VideoCodec::H264, Tools::Full)] } else { Vec::new() };
        Tried {
            name: "a card".into(),
            memory_bytes: memory_free_bytes,
            memory_free_bytes,
            able: Able { decodes: vec![VideoCodec::H264], encodes },
            pixels_per_s: Vec::new(),
            sessions,
            session_bytes,
            absent: Vec::new(),
        }
    }

    #[test]
    fn slots_heed_sessions_and_memory() {
        assert_eq!(slots(&tried(8, GIB / 4, 16 * GIB)), 2, "eight sessions carry two ladders");
        assert_eq!(slots(&tried(48, GIB / 4, 16 * GIB)), 8, "no more than its encoders are worth");
        assert_eq!(slots(&tried(48, GIB / 4, 4 * GIB)), 2, "little memory");
        assert_eq!(slots(&tried(3, GIB / 4, 16 * GIB)), 0, "not one ladder");
        assert_eq!(slots(&tried(48, GIB / 4, GIB)), 0);
        assert_eq!(slots(&tried(0, 0, 80 * GIB)), 8, "a card that only decodes");
        let nothing = Tried { able: Able::default(), ..tried(0, 0, 80 * GIB) };
        assert_eq!(slots(&nothing), 0);
    }

    #[test]
    fn a_machine_offers_its_encoding_cards_or_its_cores() {
        assert_eq!(slots_in_all(&[], 4), 4, "as before");
        assert_eq!(slots_in_all(&[tried(8, GIB / 4, 16 * GIB), tried(48, GIB / 4, 16 * GIB)], 4), 10);
        assert_eq!(slots_in_all(&[tried(0, 0, 80 * GIB)], 16), 16, "decoding there, encoding here");
        assert_eq!(slots_in_all(&[tried(3, GIB / 4, 16 * GIB)], 0), 1);
    }

    #[test]
    fn cards_are_found_by_their_files_and_told_by_the_driver() {
        let folder = tempfile::tempdir().unwrap();
        let (cards, devices) = (folder.path().join("gpus"), folder.path().join("dev"));
        fs::create_dir_all(cards.join("0000:01:00.0")).unwrap();
        fs::create_dir_all(&devices).unwrap();
        for name in ["nvidia3", "nvidia0", "nvidiactl", "nvidia-uvm", "null"] {
            fs::write(devices.join(name), "").unwrap();
        }
        // As the driver prints it, version 550.
        let text = "Model: \t\t NVIDIA RTX A4000\nIRQ:   \t\t 186\nGPU UUID: \t GPU-3f2504e0-4f89-11d3-9a0c-0305e82c3301\n\
                    Bus Location: \t 0000:01:00.0\nDevice Minor: \t 3\nGPU Excluded:\t No\n";
        fs::write(cards.join("0000:01:00.0/information"), text).unwrap();
        let uuid = Some("GPU-3f2504e0-4f89-11d3-9a0c-0305e82c3301".to_owned());
        let all = [Card { index: 0, minor: 0, uuid: None }, Card { index: 1, minor: 3, uuid }];
        assert_eq!(found(&cards, &devices), all);
        assert_eq!(all[1].visible(), "GPU-3f2504e0-4f89-11d3-9a0c-0305e82c3301");
        assert_eq!(all[0].visible(), "0");
        assert_eq!(found(&folder.path().join("no"), &folder.path().join("no")), []);
        assert_eq!(choose(&Wanted::Off, all.to_vec()), []);
        assert_eq!(choose(&Wanted::Auto, all.to_vec()), all);
        let missing = Card { index: 7, minor: 7, uuid: None };
        assert_eq!(choose(&Wanted::Only(vec![3, 7]), all.to_vec()), [all[1].clone(), missing]);
    }

    #[test]
    fn what_a_driver_prints_can_not_become_something_else() {
        let text = "GPU UUID: GPU-1;rm\nDevice Minor: 0";
        assert_eq!(minor_and_uuid(text), None);
        assert_eq!(minor_and_uuid("GPU UUID: GPU-12ab\nDevice Minor: x"), None);
        assert_eq!(minor_and_uuid(""), None);
    }

    #[test]
    fn what_is_wanted_is_said_in_words_or_numbers() {
        assert_eq!("auto".parse(), Ok(Wanted::Auto));
        assert_eq!("off".parse(), Ok(Wanted::Off));
        assert_eq!("1,0,1".parse(), Ok(Wanted::Only(vec![0, 1])));
        assert!("".parse::<Wanted>().is_err() && "all".parse::<Wanted>().is_err());
    }
}
