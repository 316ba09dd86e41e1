//! PARKING-QUEUE → the store: what the broker gave up on becomes a row of `mq_parked`, where an operator sees it and can
//! replay it.

use std::sync::Arc;
use std::time::Duration;

use actors::bridge::park_whole;
use actors::domain::events::{Queue, RoutingKey};
use actors::ports::bus::{BusError, Delivery};
use actors::writer::Writer;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

use super::consumer::{Arrival, Receiver, Source};

const AT_ONCE: usize = 16;
const PAUSE: Duration = Duration::from_secs(1);
/// Before one is tried again that the store did not take.
const RETRY_DELAY: Duration = Duration::from_secs(15);
const COMMIT_TIMEOUT: Duration = Duration::from_secs(10);

/// Parks until stopped.
pub(super) async fn run(receiver: Arc<Receiver>, writer: Writer, stop: CancellationToken) {
    let work = async {
        loop {
            match receiver.receive(Source::Parking, AT_ONCE).await {
                Ok(arrivals) => {
                    for arrival in arrivals {
                        park(&receiver, &writer, arrival).await;
                    }
                }
                Err(_) => sleep(PAUSE).await,
            }
        }
    };
    // What is half done comes again.
    let _: Option<()> = stop.run_until_cancelled(work).await;
}

async fn park(receiver: &Receiver, writer: &Writer, arrival: Arrival) {
    let tag = arrival.tag;
    let answer = match keep(writer, &arrival).await {
        true => receiver.ack(Source::Parking, tag).await,
        false => receiver.retry(Source::Parking, arrival, RETRY_DELAY),
    };
    if let Err(BusError(error)) = answer {
        tracing::warn!(error, "a parked message could not be answered, and is parked once more");
    }
}

/// `false` when the store did not take it.
async fn keep(writer: &Writer, arrival: &Arrival) -> bool {
    let Some(queue) = origin(arrival) else {
        metrics::counter!("seckill_bus_strangers_total").increment(1);
        tracing::error!(message_id = arrival.message_id, "a message in PARKING-QUEUE belongs to no queue of ours");
        return true;
    };
    let why = arrival.first_death.as_ref().map_or("sent to it", |(_, reason)| reason.as_str());
    let delivery = Delivery {
        tag: arrival.tag,
        queue,
        message_id: arrival.message_id.clone(),
        payload: arrival.payload.clone(),
        redelivered: arrival.redelivered,
    };
    let unit = park_whole(&delivery, &format!("given up by the broker: {why}"));
    match writer.commit_within(unit, COMMIT_TIMEOUT).await {
        Ok(()) => {
            metrics::counter!("seckill_parked_total", "queue" => queue.as_str()).increment(1);
            tracing::error!(queue = queue.as_str(), message_id = delivery.message_id, why, "a message was parked");
            true
        }
        Err(error) => {
            tracing::warn!(message_id = delivery.message_id, %error, "a message could not be parked");
            false
        }
    }
}

/// The queue that gave it up, or that its key leads to.
fn origin(arrival: &Arrival) -> Option<Queue> {
    let died_in = arrival.first_death.as_ref().and_then(|(queue, _)| Queue::parse(queue));
    died_in.or_else(|| RoutingKey::parse(&arrival.routing_key).map(RoutingKey::queue))
}
