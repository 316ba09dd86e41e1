//! Delivery → items. Each item is decoded alone, so a bad one does not hurt the others.

use serde::de::DeserializeOwned;
use serde_json::value::RawValue;

use super::apply::Batch;
use crate::domain::events::{Envelope, Queue, RoutingKey};
use crate::ports::bus::Delivery;
use crate::ports::store::units::Park;
use crate::protocol::bridge::EffectBatch;

/// A delivery taken apart.
#[derive(Debug)]
pub(super) struct Opened {
    /// The items that were understood.
    pub(super) batch: Batch,
    /// Indexes of those that were not, and why.
    pub(super) poison: Vec<(usize, String)>,
    message_id: String,
    queue: Queue,
    kind: String,
    version: u32,
    items: Vec<Box<RawValue>>,
}

/// Takes a delivery apart.
///
/// The id is the transport's: a replayed message has a new one there and the old one in its document. Only where the
/// transport brought none, the document's counts.
///
/// # Errors
/// Why the document as a whole is not understood.
pub(super) fn open(delivery: &Delivery) -> Result<Opened, String> {
    let envelope = Envelope::parse(&delivery.payload)?;
    if RoutingKey::parse(&envelope.kind).map(RoutingKey::queue) != Some(delivery.queue) {
        return Err(format!("type {:?} does not belong into {}", envelope.kind, delivery.queue.as_str()));
    }
    let ids = [&delivery.message_id, &envelope.message_id];
    let message_id = ids.into_iter().find(|id| !id.is_empty()).ok_or("the message has no id")?.clone();
    let (batch, poison) = decode(delivery.queue, &message_id, &envelope.items);
    let Envelope { kind, version, items, .. } = envelope;
    Ok(Opened { batch, poison, message_id, queue: delivery.queue, kind, version, items })
}

fn decode(queue: Queue, message_id: &str, items: &[Box<RawValue>]) -> (Batch, Vec<(usize, String)>) {
    match queue {
        Queue::OrderClose => gather(items, EffectBatch::OrderClose),
        Queue::OrderSuccess => gather(items, |items| EffectBatch::OrderSuccess(message_id.to_owned(), items)),
        Queue::StockUnlock => gather(items, EffectBatch::StockUnlock),
        Queue::StockMinus => gather(items, EffectBatch::StockMinus),
        Queue::CartDelete => gather(items, EffectBatch::CartDelete),
        Queue::BoundPlus => gather(items, EffectBatch::BoundPlus),
        Queue::SecKill => gather(items, EffectBatch::SecKill),
    }
}

fn gather<T: DeserializeOwned>(
    items: &[Box<RawValue>],
    wrap: impl FnOnce(Vec<T>) -> EffectBatch,
) -> (Batch, Vec<(usize, String)>) {
    let (mut decoded, mut indexes, mut poison) = (Vec::with_capacity(items.len()), Vec::new(), Vec::new());
    for (index, item) in items.iter().enumerate() {
        match serde_json::from_str(item.get()) {
            Ok(item) => {
                decoded.push(item);
                indexes.push(index);
            }
            Err(error) => poison.push((index, error.to_string())),
        }
    }
    (Batch::new(wrap(decoded), indexes), poison)
}

impl Opened {
    /// One item alone, as a message of its own for the operator: id `<message id>#<index>`.
    pub(super) fn park(&self, index: usize, reason: &str) -> Park {
        let message_id = part_id(&self.message_id, index);
        let payload = serde_json::json!({
            "messageId": message_id,
            "type": self.kind,
            "version": self.version,
            "items": [self.items.get(index)],
        });
        Park { message_id, queue: self.queue, payload: payload.to_string(), reason: reason.to_owned() }
    }
}

/// The id of one item of a message, the same however often the message comes.
pub(super) fn part_id(message_id: &str, index: usize) -> String {
    format!("{message_id}#{index}")
}

/// A delivery that is not understood at all, as it came. Without an id it gets one from its content, so that it is
/// parked once however often it comes.
pub fn park_whole(delivery: &Delivery, reason: &str) -> Park {
    let message_id = match delivery.message_id.as_str() {
        "" => content_id(&delivery.payload),
        id => id.to_owned(),
    };
    // PostgreSQL's text has no NUL.
    let payload = String::from_utf8_lossy(&delivery.payload).replace('\0', "\u{fffd}");
    Park { message_id, queue: delivery.queue, payload, reason: reason.to_owned() }
}

fn content_id(payload: &[u8]) -> String {
    use sha2::Digest;
    let digest = sha2::Sha256::digest(payload);
    let hex: String = digest.iter().take(16).map(|byte| format!("{byte:02x}")).collect();
    format!("unnamed-{hex}")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn delivery(queue: Queue, message_id: &str, payload: &str) -> Delivery {
        Delivery { tag: 1, queue, message_id: message_id.into(), payload: payload.into(), redelivered: 0 }
    }

    const UNLOCK: &str =
        r#"{"messageId":"m","type":"stock.unlock","version":1,"items":[{"orderToken":"1"},{"orderToken":"a b"},7]}"#;

    #[test]
    fn bad_items_do_not_hurt_the_others() {
        let opened = open(&delivery(Queue::StockUnlock, "m", UNLOCK)).unwrap();
        assert_eq!(opened.batch.len(), 1);
        assert_eq!(opened.poison.iter().map(|(index, _)| *index).collect::<Vec<_>>(), [1, 2]);
        let park = opened.park(1, "why");
        assert_eq!(park.message_id, "m#1");
        let envelope = Envelope::parse(park.payload.as_bytes()).unwrap();
        assert_eq!((envelope.message_id.as_str(), envelope.kind.as_str()), ("m#1", "stock.unlock"));
        let items: Vec<&str> = envelope.items.iter().map(|item| item.get()).collect();
        assert_eq!(items, [r#"{"orderToken":"a b"}"#]);
    }

    #[test]
    fn the_transports_id_counts_before_the_documents() {
        let opened = open(&delivery(Queue::StockUnlock, "new", UNLOCK)).unwrap();
        assert_eq!(opened.park(2, "").message_id, "new#2");
        let opened = open(&delivery(Queue::StockUnlock, "", UNLOCK)).unwrap();
        assert_eq!(opened.park(2, "").message_id, "m#2");
    }

    #[test]
    fn a_message_in_a_wrong_queue_is_not_understood() {
        assert!(open(&delivery(Queue::StockMinus, "m", UNLOCK)).is_err());
        let created = r#"{"messageId":"m","type":"order.create","version":1,"items":[]}"#;
        assert!(open(&delivery(Queue::OrderClose, "m", created)).is_ok(), "creations arrive as closes");
    }

    #[test]
    fn documents_that_are_none_are_parked_under_a_stable_id() {
        for payload in ["", "[]", "\u{0}", r#"{"messageId":"m","type":"stock.unlock","version":2,"items":[]}"#] {
            let delivery = delivery(Queue::StockUnlock, "", payload);
            let reason = open(&delivery).unwrap_err();
            let park = park_whole(&delivery, &reason);
            assert!(park.message_id.starts_with("unnamed-"), "{}", park.message_id);
            assert_eq!(park.message_id, park_whole(&delivery, &reason).message_id);
            assert!(!park.payload.contains('\0'));
        }
    }
}
