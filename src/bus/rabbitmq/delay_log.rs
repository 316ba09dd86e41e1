//! Which delay queues were ever used: the name of such a queue holds its delay, so a changed timeout leaves a queue
//! under another name bound, and AMQP cannot list bindings. A stream in the broker remembers the names: every node
//! appends its own at start, reads the others, and unbinds them. Their messages still come out in time.
//!
//! A node that still runs with the old timeout publishes into the new queue meanwhile; a close that comes too early
//! changes nothing, and the sweep closes in time. When such a node reconnects it binds its own queue again, and a message
//! then waits in both: its second arrival finds its work done.

use std::collections::BTreeSet;

use actors::domain::events::Delays;
use futures_util::StreamExt;
use lapin::options::{
    BasicAckOptions, BasicCancelOptions, BasicConsumeOptions, BasicPublishOptions, BasicQosOptions,
    ConfirmSelectOptions, QueueDeclareOptions,
};
use lapin::types::FieldTable;
use lapin::{BasicProperties, Channel, Connection};

use super::topology::{self, Binding, put_number, put_text};

const LOG: &str = "ORDER-TTL-LOG";
/// Thousands of starts; the oldest segment is forgotten first.
const LOG_BYTES: i64 = 4_000_000;
const SEGMENT_BYTES: i64 = 1_000_000;
const READ_AHEAD: u16 = 100;

/// Remembers the delay queues of `delays` and unbinds all others that were ever used. `marker` is a text that no other
/// start uses.
///
/// # Errors
/// When the broker refuses it, or goes away.
pub(super) async fn retire_others(connection: &Connection, delays: &Delays, marker: &str) -> lapin::Result<()> {
    let channel = connection.create_channel().await?;
    append(&channel, &topology::delay_queues(delays), marker).await?;
    let known = read_up_to(&channel, marker).await?;
    channel.close(200, "read".into()).await?;
    for binding in topology::outdated(&known, delays) {
        unbind(connection, &binding).await?;
    }
    Ok(())
}

async fn append(channel: &Channel, names: &BTreeSet<String>, marker: &str) -> lapin::Result<()> {
    let mut arguments = FieldTable::default();
    put_text(&mut arguments, "x-queue-type", "stream");
    put_number(&mut arguments, "x-max-length-bytes", LOG_BYTES);
    put_number(&mut arguments, "x-stream-max-segment-size-bytes", SEGMENT_BYTES);
    channel.queue_declare(LOG.into(), QueueDeclareOptions::durable(), arguments).await?;
    channel.confirm_select(ConfirmSelectOptions::default()).await?;
    let entry = names.iter().map(String::as_str).collect::<Vec<_>>().join("\n");
    let properties = BasicProperties::default().with_message_id(marker.into()).with_delivery_mode(2);
    let options = BasicPublishOptions { mandatory: true, ..BasicPublishOptions::default() };
    channel.basic_publish("".into(), LOG.into(), options, entry.as_bytes(), properties).await?.await?;
    Ok(())
}

/// All names in the log, up to the entry with this marker.
async fn read_up_to(channel: &Channel, marker: &str) -> lapin::Result<BTreeSet<String>> {
    // A stream hands out nothing without one.
    channel.basic_qos(READ_AHEAD, BasicQosOptions::default()).await?;
    let mut from_the_start = FieldTable::default();
    put_text(&mut from_the_start, "x-stream-offset", "first");
    let consume = channel.basic_consume(LOG.into(), "".into(), BasicConsumeOptions::default(), from_the_start);
    let mut entries = consume.await?;
    let mut names = BTreeSet::new();
    while let Some(entry) = entries.next().await {
        let entry = entry?;
        entry.ack(BasicAckOptions::default()).await?;
        names.extend(String::from_utf8_lossy(&entry.data).lines().map(str::to_owned));
        if entry.properties.message_id().as_ref().is_some_and(|id| id.as_str() == marker) {
            break;
        }
    }
    channel.basic_cancel(entries.tag(), BasicCancelOptions::default()).await?;
    Ok(names)
}

/// A refused unbind closes its channel, so each has one of its own. A queue that is gone is not bound.
async fn unbind(connection: &Connection, binding: &Binding) -> lapin::Result<()> {
    let channel = connection.create_channel().await?;
    let (queue, exchange, key) = (binding.queue.as_str().into(), binding.exchange.into(), binding.key.into());
    match channel.queue_unbind(queue, exchange, key, FieldTable::default()).await {
        Ok(()) => channel.close(200, "unbound".into()).await,
        Err(error) if super::link::is_not_found(&error) => Ok(()),
        Err(error) => Err(error),
    }
}
