//! What one batch announces and changes, and which function carries out which kind of unit: the same in every adapter.

use std::collections::BTreeMap;

use actors::domain::events::{Event, Message, pack};
use actors::domain::stock::StockRow;
use actors::domain::{Timestamp, WareSkuId};
use actors::ports::clock::{Entropy, message_id};

use super::rows::{StockColumns, stock_row};

/// A unit and its place in the batch.
pub(super) type Placed<'u, U> = (usize, &'u U);

/// What a running transaction will tell once it is committed.
#[derive(Default)]
pub(super) struct News {
    events: Vec<(usize, Event)>,
    replayed: Vec<Message>,
    changed: BTreeMap<WareSkuId, StockRow>,
}

impl News {
    /// Notes what the unit at `place` announces.
    pub(super) fn announce(&mut self, place: usize, events: impl IntoIterator<Item = Event>) {
        self.events.extend(events.into_iter().map(|event| (place, event)));
    }

    /// Sends a message that is not made of events, after those that are.
    pub(super) fn replay(&mut self, message: Message) {
        self.replayed.push(message);
    }

    /// Notes stock rows as they are after a change.
    pub(super) fn stock_changed(&mut self, rows: Vec<StockColumns>) {
        self.changed.extend(rows.into_iter().map(stock_row).map(|row| (row.id, row)));
    }

    /// A stock row that this transaction changed.
    pub(super) fn changed_row(&self, id: WareSkuId) -> Option<&StockRow> {
        self.changed.get(&id)
    }

    /// The outbox rows of the batch: its events in the order of its units, packed, and then what is replayed.
    pub(super) fn take_messages(&mut self, items: usize, at: Timestamp, entropy: &dyn Entropy) -> Vec<Message> {
        let mut events = std::mem::take(&mut self.events);
        events.sort_by_key(|(place, _)| *place);
        let events: Vec<Event> = events.into_iter().map(|(_, event)| event).collect();
        let mut messages = pack(&events, items, || message_id(at, entropy));
        messages.append(&mut self.replayed);
        messages
    }

    /// The stock rows that the batch changed.
    pub(super) fn into_stock(self) -> Vec<StockRow> {
        self.changed.into_values().collect()
    }
}

/// Carries out one group of units of one kind, with the functions of these names where it is called.
macro_rules! carry_out_group {
    ($tx:ident, $units:ident, $group:ident, $outcomes:ident) => {
        $crate::store::batch::carry_out_group! { @kinds $tx, $units, $group, $outcomes,
            together: [
                PlaceOrder => orders::place,
                LockStock => locks::lock,
                ResolveLocks => locks::resolve,
                CommitGrants => grants::commit,
                MakeFlashOrders => flash_orders::make,
                CloseOrders => orders::close,
                ReceiveOrders => fulfilment::receive,
                AnnouncePaid => inbox::announce_paid,
                AddPoints => members::add_points,
                RemoveCartItems => members::remove_cart_items,
                MarkPublished => outbox::mark_published,
                Enqueue => inbox::enqueue,
                FinishDeliveries => inbox::finish,
            ],
            one_by_one: [
                AdjustStock => stock::adjust,
                FailGrants => grants::fail,
                CreateSale => sale_life::create,
                ArmSale => sale_life::arm,
                PauseSale => sale_life::pause,
                EndSale => sale_life::end,
                RaiseEpoch => sale_life::raise_epoch,
                TakePayment => payments::take,
                IssuePayPage => payments::issue_page,
                PutCartItem => members::put_cart_item,
                RetryDelivery => inbox::retry,
                Park => messages::park,
                Replay => messages::replay,
                SettleRefund => payments::settle_refund,
                ShipOrder => fulfilment::ship,
                RefundOrder => refunds::refund,
                RequestReturn => returns::request,
                HandleReturn => returns::handle,
                EditSale => sale_life::edit,
                RestockSale => sale_life::restock,
                SetReceiver => orders::set_receiver,
                PruneRequests => requests::prune,
                PruneMessages => outbox::prune,
                CreateWebhook => webhooks::create,
                EditWebhook => webhooks::edit,
                DeleteWebhook => webhooks::delete,
                RotateWebhook => webhooks::rotate,
                ClaimDeliveries => deliveries::claim,
                SettleDelivery => webhooks::settle,
                Redeliver => webhooks::redeliver,
                PruneDeliveries => deliveries::prune,
            ],
        }
    };
    (@kinds $tx:ident, $units:ident, $group:ident, $outcomes:ident,
        together: [$($whole:ident => $all:path,)*], one_by_one: [$($single:ident => $one:path,)*],) => {
        if let Some(&first) = $group.first() {
            match &$units[first] {
                $(WriteUnit::$whole(_) => {
                    let members: Vec<Placed<'_, _>> = $crate::store::batch::of_kind!($units, $group, $whole).collect();
                    let answers = $all($tx, &members).await?;
                    for ((place, _), answer) in members.into_iter().zip(answers) {
                        $outcomes[place] = Some(UnitOutcome::$whole(answer));
                    }
                })*
                $(WriteUnit::$single(_) => {
                    for (place, unit) in $crate::store::batch::of_kind!($units, $group, $single) {
                        $outcomes[place] = Some(UnitOutcome::$single($one($tx, (place, unit)).await?));
                    }
                })*
            }
        }
    };
}
pub(super) use carry_out_group;

/// Takes the units of one kind out of a group.
macro_rules! of_kind {
    ($units:ident, $group:ident, $kind:ident) => {
        $group.iter().filter_map(|&place| match &$units[place] {
            WriteUnit::$kind(unit) => Some((place, unit)),
            _ => None,
        })
    };
}
pub(super) use of_kind;
