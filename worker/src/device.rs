//! What a model runs on: a card that was opened here, or else the processor. Each is tried by running it.
//!
//! Called by `listen` and `look`.

use millrace_media::card::Card;
use millrace_proto::offer::{Absent, Device};

/// Deals out the cards, one model after the other, so that several models share them.
#[derive(Debug)]
pub(crate) struct Deal<'a>(std::iter::Cycle<std::slice::Iter<'a, Card>>);

impl<'a> Deal<'a> {
    pub(crate) fn new(cards: &'a [Card]) -> Self {
        Self(cards.iter().cycle())
    }

    /// The card for the next model, if there are any.
    pub(crate) fn next(&mut self) -> Option<&'a Card> {
        self.0.next()
    }
}

/// What a model runs on that has this card, or none.
pub(crate) fn device(card: Option<&Card>) -> Device {
    if card.is_some() { Device::Cuda } else { Device::Cpu }
}

/// What comes of trying the model `id`: on its card, if it has one, and where that fails for whatever reason, on the processor.
/// What fails is absent with its reason.
pub(crate) async fn proved<T>(
    id: &str,
    card: Option<&Card>,
    absent: &mut Vec<Absent>,
    try_on: impl AsyncFn(Option<&Card>) -> Result<T, String>,
) -> Option<T> {
    if let Some(card) = card {
        match try_on(Some(card)).await {
            Ok(proved) => return Some(proved),
            Err(reason) => absent.push(Absent { name: format!("{id} on card {}", card.minor), reason }),
        }
    }
    match try_on(None).await {
        Ok(proved) => Some(proved),
        Err(reason) => {
            absent.push(Absent { name: id.into(), reason });
            None
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cards() -> [Card; 2] {
        [0, 3].map(|minor| Card { index: minor, minor, uuid: None })
    }

    #[test]
    fn models_are_spread_over_the_cards() {
        let cards = cards();
        let mut deal = Deal::new(&cards);
        let dealt: Vec<_> = (0..5).map(|_| deal.next().unwrap().minor).collect();
        assert_eq!(dealt, [0, 3, 0, 3, 0]);
        assert_eq!(Deal::new(&[]).next(), None);
    }

    /// Tries a model that does on the devices named, and tells what was tried.
    async fn tried(card: Option<&Card>, does: &[Device]) -> (Option<Device>, Vec<Device>, Vec<String>) {
        let (mut absent, log) = (Vec::new(), std::sync::Mutex::new(Vec::new()));
        let proved = proved("base", card, &mut absent, async |card| {
            log.lock().unwrap().push(device(card));
            if does.contains(&device(card)) { Ok(device(card)) } else { Err("no".into()) }
        });
        let proved = proved.await;
        (proved, log.into_inner().unwrap(), absent.into_iter().map(|absent| absent.name).collect())
    }

    #[tokio::test]
    async fn what_a_card_does_not_do_is_tried_on_the_processor_and_told() {
        let [_, card] = cards();
        let (cpu, cuda) = (Device::Cpu, Device::Cuda);
        assert_eq!(tried(Some(&card), &[cuda, cpu]).await, (Some(cuda), vec![cuda], vec![]));
        assert_eq!(tried(Some(&card), &[cpu]).await, (Some(cpu), vec![cuda, cpu], vec!["base on card 3".into()]));
        let names = vec!["base on card 3".into(), "base".into()];
        assert_eq!(tried(Some(&card), &[]).await, (None, vec![cuda, cpu], names));
        assert_eq!(tried(None, &[cuda, cpu]).await, (Some(cpu), vec![cpu], vec![]));
        assert_eq!(tried(None, &[]).await, (None, vec![cpu], vec!["base".into()]));
    }
}
