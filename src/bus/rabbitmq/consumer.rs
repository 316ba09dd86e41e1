//! Receiving: one channel and one consumer a queue, each with the prefetch, set up again after every reconnect.
//!
//! A delivery is answered on the connection it came over or not at all: tags are unique over reconnects, and those of a
//! lost connection are forgotten with it.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use actors::domain::events::{PARKING_QUEUE, Queue};
use actors::ports::bus::BusError;
use async_trait::async_trait;
use futures_util::{FutureExt, StreamExt};
use lapin::message::Delivery as Frame;
use lapin::options::{BasicAckOptions, BasicConsumeOptions, BasicNackOptions, BasicQosOptions};
use lapin::types::{AMQPValue, FieldTable};
use lapin::{Acker, Channel, Consumer};
use tokio::sync::{Notify, watch};
use tokio::time::{Instant, sleep_until, timeout};

use super::RabbitSettings;
use super::desk::{Desk, Due};
use super::link::{Line, Link};
use super::status::LinkName;

/// Longest wait of a receiver for a connection.
const CONNECTION_WAIT: Duration = Duration::from_secs(5);
/// A receiver that waits for nothing in particular looks again after this.
const LOOK_AGAIN: Duration = Duration::from_secs(3600);

/// A queue that is consumed here.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Source {
    /// For a dispatcher.
    Work(Queue),
    /// PARKING-QUEUE.
    Parking,
}

impl Source {
    const fn name(self) -> &'static str {
        match self {
            Self::Work(queue) => queue.as_str(),
            Self::Parking => PARKING_QUEUE,
        }
    }
}

/// One arrival.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Arrival {
    pub(super) tag: u64,
    pub(super) message_id: String,
    pub(super) payload: Vec<u8>,
    pub(super) redelivered: u32,
    pub(super) routing_key: String,
    /// The queue that gave it up first, and why.
    pub(super) first_death: Option<(String, String)>,
}

/// Broker → dispatchers.
pub(super) struct Receiver {
    session: watch::Sender<Option<Arc<Session>>>,
    next_tag: AtomicU64,
    settings: RabbitSettings,
}

struct Session {
    line: Arc<Line>,
    lanes: BTreeMap<Source, Lane>,
}

/// One queue.
struct Lane {
    /// Whoever holds it receives.
    frames: tokio::sync::Mutex<Consumer>,
    desk: Mutex<Desk<Acker, Arrival>>,
    put_back: Notify,
    /// Open as long as this lives.
    _channel: Channel,
}

impl Lane {
    async fn open(line: &Line, source: Source, prefetch: u16) -> lapin::Result<Self> {
        let channel = line.connection.create_channel().await?;
        channel.basic_qos(prefetch, BasicQosOptions::default()).await?;
        let (options, arguments) = (BasicConsumeOptions::default(), FieldTable::default());
        let frames = channel.basic_consume(source.name().into(), "".into(), options, arguments).await?;
        let desk = Mutex::new(Desk::new());
        Ok(Self { frames: tokio::sync::Mutex::new(frames), desk, put_back: Notify::new(), _channel: channel })
    }

    fn desk(&self) -> MutexGuard<'_, Desk<Acker, Arrival>> {
        // Moves entries between two maps; what a panic loses is answered by the end of the connection.
        self.desk.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[async_trait]
impl Link for Receiver {
    fn name(&self) -> LinkName {
        LinkName::Consume
    }

    async fn open(&self, line: &Arc<Line>) -> lapin::Result<()> {
        let mut lanes = BTreeMap::new();
        for source in Queue::ALL.into_iter().map(Source::Work).chain([Source::Parking]) {
            lanes.insert(source, Lane::open(line, source, self.settings.prefetch).await?);
        }
        self.session.send_replace(Some(Arc::new(Session { line: line.clone(), lanes })));
        Ok(())
    }

    fn close(&self) {
        self.session.send_replace(None);
    }
}

fn away() -> BusError {
    BusError("the broker is away".into())
}

fn is_gone() -> BusError {
    BusError("it came over a connection that is gone, and comes again".into())
}

impl Receiver {
    pub(super) fn new(settings: RabbitSettings) -> Self {
        Self { session: watch::Sender::new(None), next_tag: AtomicU64::new(1), settings }
    }

    fn tag(&self) -> u64 {
        self.next_tag.fetch_add(1, Ordering::Relaxed)
    }

    async fn session(&self) -> Result<Arc<Session>, BusError> {
        let mut session = self.session.subscribe();
        match timeout(CONNECTION_WAIT, session.wait_for(Option::is_some)).await {
            Ok(Ok(session)) => session.clone().ok_or_else(away),
            _ => Err(away()),
        }
    }

    /// Waits for at least one arrival, takes at most `limit`. May be dropped while it waits.
    pub(super) async fn receive(&self, source: Source, limit: usize) -> Result<Vec<Arrival>, BusError> {
        let session = self.session().await?;
        let lane = session.lanes.get(&source).ok_or_else(away)?;
        let mut frames = lane.frames.lock().await;
        loop {
            let mut taken = self.take_due(lane, limit);
            self.take_ready(lane, &mut frames, limit, &mut taken);
            if !taken.is_empty() {
                return Ok(taken);
            }
            let next_due = lane.desk().next_due().unwrap_or_else(|| Instant::now() + LOOK_AGAIN);
            tokio::select! {
                biased;
                frame = frames.next() => match frame {
                    Some(Ok(frame)) => {
                        taken.push(self.hand_out(lane, frame));
                        self.take_ready(lane, &mut frames, limit, &mut taken);
                        return Ok(taken);
                    }
                    // The broker ended this consumer or the whole connection: all is set up again.
                    ended => {
                        tracing::warn!(queue = source.name(), ?ended, "the consumer ended");
                        session.line.give_up();
                        return Err(is_gone());
                    }
                },
                () = lane.put_back.notified() => {}
                () = sleep_until(next_due) => {}
                () = session.line.lost() => return Err(is_gone()),
            }
        }
    }

    /// What was put back and is due.
    fn take_due(&self, lane: &Lane, limit: usize) -> Vec<Arrival> {
        let (mut taken, now) = (Vec::new(), Instant::now());
        while taken.len() < limit {
            let due = lane.desk().take_due(now, |arrival| {
                arrival.tag = self.tag();
                arrival.redelivered = arrival.redelivered.saturating_add(1);
                arrival.tag
            });
            match due {
                Some(Due::Again(arrival)) => taken.push(arrival),
                // Sent with the first poll; when the channel is gone it goes back anyway.
                Some(Due::Back(acker)) => drop(acker.nack(requeue()).now_or_never()),
                None => break,
            }
        }
        taken
    }

    /// What has arrived already.
    fn take_ready(&self, lane: &Lane, frames: &mut Consumer, limit: usize, taken: &mut Vec<Arrival>) {
        while taken.len() < limit {
            match frames.next().now_or_never() {
                Some(Some(Ok(frame))) => taken.push(self.hand_out(lane, frame)),
                // An end is met again by the next receiver, or seen by the keeper.
                _ => break,
            }
        }
    }

    fn hand_out(&self, lane: &Lane, frame: Frame) -> Arrival {
        let tag = self.tag();
        lane.desk().hand_out(tag, frame.acker.clone(), Instant::now());
        arrival(tag, frame)
    }

    /// The broker may forget it.
    pub(super) async fn ack(&self, source: Source, tag: u64) -> Result<(), BusError> {
        let session = self.session.borrow().clone().ok_or_else(is_gone)?;
        let acker = session.lanes.get(&source).and_then(|lane| lane.desk().finish(tag)).ok_or_else(is_gone)?;
        match timeout(self.settings.confirm_timeout, acker.ack(BasicAckOptions::default())).await {
            Ok(Ok(true)) => Ok(()),
            Ok(Ok(false)) => Err(is_gone()),
            Ok(Err(error)) => Err(BusError(error.to_string())),
            Err(_) => Err(BusError("an acknowledgement could not be sent in time".into())),
        }
    }

    /// Again after `delay`.
    pub(super) fn retry(&self, source: Source, arrival: Arrival, delay: Duration) -> Result<(), BusError> {
        let session = self.session.borrow().clone().ok_or_else(is_gone)?;
        let lane = session.lanes.get(&source).ok_or_else(is_gone)?;
        if !lane.desk().put_back(arrival.tag, arrival, Instant::now() + delay) {
            return Err(is_gone());
        }
        lane.put_back.notify_one();
        Ok(())
    }
}

fn requeue() -> BasicNackOptions {
    BasicNackOptions { requeue: true, ..BasicNackOptions::default() }
}

fn arrival(tag: u64, frame: Frame) -> Arrival {
    let headers = frame.properties.headers().as_ref();
    let text = |name: &str| headers.and_then(|headers| headers.inner().get(name)).and_then(text_of);
    // Quorum queues count; foreign ones only say that it is not the first time.
    let counted = headers.and_then(|headers| headers.inner().get("x-delivery-count")).and_then(number_of);
    let redelivered = counted.unwrap_or(u32::from(frame.redelivered));
    let first_death = text("x-first-death-queue").zip(text("x-first-death-reason"));
    Arrival {
        tag,
        message_id: frame.properties.message_id().as_ref().map(ToString::to_string).unwrap_or_default(),
        routing_key: frame.routing_key.to_string(),
        payload: frame.data,
        redelivered,
        first_death,
    }
}

fn text_of(value: &AMQPValue) -> Option<String> {
    match value {
        AMQPValue::LongString(text) => Some(String::from_utf8_lossy(text.as_bytes()).into_owned()),
        _ => None,
    }
}

fn number_of(value: &AMQPValue) -> Option<u32> {
    let number = match value {
        AMQPValue::LongLongInt(number) => *number,
        AMQPValue::LongInt(number) => i64::from(*number),
        AMQPValue::LongUInt(number) => i64::from(*number),
        AMQPValue::ShortInt(number) => i64::from(*number),
        AMQPValue::ShortUInt(number) => i64::from(*number),
        AMQPValue::ShortShortInt(number) => i64::from(*number),
        AMQPValue::ShortShortUInt(number) => i64::from(*number),
        _ => return None,
    };
    u32::try_from(number).ok()
}
