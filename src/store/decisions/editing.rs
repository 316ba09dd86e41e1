//! Changes by hand: the terms of a draft, the receiver of an order.

use actors::domain::Timestamp;
use actors::domain::flash_sale::{FlashSale, SaleState};
use actors::domain::order::OrderStatus;
use actors::ports::store::units::{EditSale, ReceiverChange, SaleEdit, SetReceiver};

/// Whether a draft takes new terms; `Done` is to be written.
pub(in crate::store) fn decide_edit(sale: Option<&FlashSale>, unit: &EditSale) -> SaleEdit {
    match sale {
        None => SaleEdit::WrongState(None),
        Some(sale) if sale.state != SaleState::Draft => SaleEdit::WrongState(Some(sale.state)),
        Some(sale) if sale.terms() != unit.seen => SaleEdit::Changed,
        Some(_) => SaleEdit::Done,
    }
}

/// Whether an order with this status and time of change goes elsewhere; `Done` is to be written.
pub(in crate::store) fn decide_receiver(known: Option<(OrderStatus, Timestamp)>, unit: &SetReceiver) -> ReceiverChange {
    match known {
        None => ReceiverChange::Unknown,
        Some((_, modified_at)) if unit.seen.is_some_and(|seen| seen != modified_at) => ReceiverChange::Changed,
        Some((status, _)) if !status.may_change_receiver() => ReceiverChange::WrongState(status),
        Some(_) => ReceiverChange::Done,
    }
}
