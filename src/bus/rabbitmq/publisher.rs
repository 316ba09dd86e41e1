//! Publishing with confirms: a window of messages is started together, then all its confirms are awaited.
//!
//! An unroutable message comes back *and* is acknowledged. The client hangs what came back on whichever confirm is
//! resolved next, so a returned message is told by its id, never by its place. What comes back and what is acknowledged
//! of such messages keeps its order, so an acknowledged one is among those that came back by then, even in a window that
//! was cut short. A channel whose window was cut short is closed: what it still gets would be taken for the next one's.
//!
//! Each key has a channel of its own: a queue that hangs or lost its majority confirms nothing and holds up the broker's
//! whole channel. Such a key is left alone for a while, and everything else goes on.

use std::collections::{BTreeMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use actors::domain::events::{Message, RoutingKey};
use actors::ports::bus::BusError;
use async_trait::async_trait;
use futures_util::future::{join_all, try_join_all};
use futures_util::stream::FuturesUnordered;
use futures_util::{FutureExt, StreamExt};
use lapin::options::{BasicPublishOptions, ConfirmSelectOptions};
use lapin::{BasicProperties, Channel, Confirmation};
use tokio::sync::watch;
use tokio::time::{Instant, sleep_until, timeout_at};

use super::RabbitSettings;
use super::link::{Line, Link, is_not_found};
use super::status::{LinkName, RabbitStatus};

const PERSISTENT: u8 = 2;

/// Outbox → broker.
pub(super) struct Publisher {
    session: watch::Sender<Option<Arc<Session>>>,
    /// One window at a time.
    turn: tokio::sync::Mutex<()>,
    settings: RabbitSettings,
    status: RabbitStatus,
}

struct Session {
    line: Arc<Line>,
    /// One a key, opened when needed. Not there while a window is under way, and after one that was cut short.
    channels: Mutex<BTreeMap<RoutingKey, Channel>>,
}

impl Session {
    fn channels(&self) -> MutexGuard<'_, BTreeMap<RoutingKey, Channel>> {
        // Nothing panics while it is held.
        self.channels.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[async_trait]
impl Link for Publisher {
    fn name(&self) -> LinkName {
        LinkName::Publish
    }

    async fn open(&self, line: &Arc<Line>) -> lapin::Result<()> {
        self.status.set_live();
        let channels = Mutex::default();
        self.session.send_replace(Some(Arc::new(Session { line: line.clone(), channels })));
        Ok(())
    }

    fn close(&self) {
        self.session.send_replace(None);
    }
}

async fn open_channel(line: &Line) -> lapin::Result<Channel> {
    let channel = line.connection.create_channel().await?;
    channel.confirm_select(ConfirmSelectOptions::default()).await?;
    Ok(channel)
}

fn late() -> BusError {
    BusError("the broker did not confirm in time".into())
}

impl Publisher {
    pub(super) fn new(settings: RabbitSettings, status: RabbitStatus) -> Self {
        Self { session: watch::Sender::new(None), turn: tokio::sync::Mutex::new(()), settings, status }
    }

    /// One answer per message, all within the confirm timeout.
    pub(super) async fn publish(&self, messages: &[Message]) -> Vec<Result<(), BusError>> {
        let deadline = Instant::now() + self.settings.confirm_timeout;
        let mut answers = Vec::with_capacity(messages.len());
        for window in messages.chunks(self.settings.window) {
            match self.publish_window(window, deadline).await {
                Ok(of_window) => answers.extend(of_window),
                Err(error) => {
                    answers.resize(messages.len(), Err(error));
                    break;
                }
            }
        }
        let published = answers.iter().filter(|answer| answer.is_ok()).count();
        metrics::counter!("seckill_bus_published_total").increment(published as u64);
        metrics::counter!("seckill_bus_unpublished_total").increment((answers.len() - published) as u64);
        answers
    }

    async fn publish_window(
        &self,
        window: &[Message],
        deadline: Instant,
    ) -> Result<Vec<Result<(), BusError>>, BusError> {
        let _turn = timeout_at(deadline, self.turn.lock()).await.map_err(|_| late())?;
        let session = self.session.borrow().clone().ok_or_else(|| BusError("the broker is away".into()))?;
        session.line.check()?;
        let stalled = self.status.stalled();
        let mut groups: BTreeMap<RoutingKey, Vec<usize>> = BTreeMap::new();
        for (at, message) in window.iter().enumerate().filter(|(_, message)| !stalled.contains(&message.key)) {
            groups.entry(message.key).or_default().push(at);
        }
        let sent = join_all(groups.iter().map(|(key, places)| {
            let group: Vec<&Message> = places.iter().map(|at| &window[*at]).collect();
            self.send_group(&session, *key, group, deadline)
        }));
        let mut answers = vec![Err(BusError("its queue confirms nothing, and is left alone".into())); window.len()];
        for (places, outcomes) in groups.values().zip(sent.await) {
            places.iter().zip(outcomes).for_each(|(at, outcome)| answers[*at] = outcome);
        }
        Ok(answers)
    }

    /// Messages of one key; one answer each.
    async fn send_group(
        &self,
        session: &Session,
        key: RoutingKey,
        group: Vec<&Message>,
        deadline: Instant,
    ) -> Vec<Result<(), BusError>> {
        let outcomes = match self.send(session, key, &group, deadline).await {
            Ok(outcomes) => outcomes,
            Err(error) => vec![Err(error); group.len()],
        };
        let has_no_answer = outcomes.iter().all(|outcome| *outcome == Err(late()));
        if has_no_answer && session.line.check().is_ok() {
            self.status.set_stalled(key, Instant::now() + self.settings.repair_pause);
        }
        outcomes
    }

    async fn send(
        &self,
        session: &Session,
        key: RoutingKey,
        group: &[&Message],
        deadline: Instant,
    ) -> Result<Vec<Result<(), BusError>>, BusError> {
        let ready = session.channels().remove(&key);
        let starting = async {
            let channel = match ready {
                Some(channel) => channel,
                None => open_channel(&session.line).await?,
            };
            let started = try_join_all(group.iter().map(|message| start(&channel, message))).await?;
            Ok((channel, started))
        };
        let (channel, started) = tokio::select! {
            biased;
            started = timeout_at(deadline, starting) => started.map_err(|_| late())?.map_err(|error| self.failed(key, &error))?,
            error = session.line.interrupted() => return Err(error),
        };
        let mut confirmed: Vec<Option<Confirmation>> = group.iter().map(|_| None).collect();
        let mut confirms: FuturesUnordered<_> =
            (0..).zip(started).map(|(at, confirm)| confirm.map(move |done| (at, done))).collect();
        let cut_short = loop {
            let next = tokio::select! {
                biased;
                next = confirms.next() => next,
                error = session.line.interrupted() => break Some(error),
                () = sleep_until(deadline) => break Some(late()),
            };
            match next {
                None => break None,
                Some((at, Ok(confirmation))) => confirmed[at] = Some(confirmation),
                Some((_, Err(error))) => break Some(self.failed(key, &error)),
            }
        };
        if cut_short.is_none() {
            session.channels().insert(key, channel);
        }
        Ok(self.judge(key, group, confirmed, &cut_short.unwrap_or_else(late)))
    }

    /// An exchange that is gone closes the channel, and the whole group fails with it.
    fn failed(&self, key: RoutingKey, error: &lapin::Error) -> BusError {
        if is_not_found(error) {
            self.status.set_unroutable(key);
        }
        BusError(error.to_string())
    }

    /// `missing` is why the rest was not confirmed.
    fn judge(
        &self,
        key: RoutingKey,
        group: &[&Message],
        confirmed: Vec<Option<Confirmation>>,
        missing: &BusError,
    ) -> Vec<Result<(), BusError>> {
        let outcome = |confirmation: &Option<Confirmation>| match confirmation {
            Some(Confirmation::Ack(_)) => Ok(()),
            Some(Confirmation::Nack(_)) => Err(BusError("the broker refused it".into())),
            Some(Confirmation::NotRequested) => Err(BusError("the channel asks for no confirms".into())),
            None => Err(missing.clone()),
        };
        let mut outcomes: Vec<_> = confirmed.iter().map(outcome).collect();
        let returned = confirmed.into_iter().flatten().filter_map(Confirmation::take_message);
        let returned: HashSet<String> = returned
            .map(|message| message.properties.message_id().as_ref().map(ToString::to_string).unwrap_or_default())
            .collect();
        let came_back = |message: &Message| returned.contains(&message.message_id);
        for (_, outcome) in group.iter().zip(&mut outcomes).filter(|(message, _)| came_back(message)) {
            *outcome = Err(BusError(format!("no queue is bound to {}", key.as_str())));
        }
        if !returned.is_empty() {
            self.status.set_unroutable(key);
        } else if outcomes.iter().any(Result::is_ok) {
            self.status.set_routable([key]);
        }
        outcomes
    }
}

async fn start(channel: &Channel, message: &Message) -> lapin::Result<lapin::PublisherConfirm> {
    let properties = BasicProperties::default()
        .with_message_id(message.message_id.as_str().into())
        .with_content_type("application/json".into())
        .with_delivery_mode(PERSISTENT);
    let options = BasicPublishOptions { mandatory: true, ..BasicPublishOptions::default() };
    let (exchange, key) = (message.key.exchange().into(), message.key.as_str().into());
    channel.basic_publish(exchange, key, options, message.payload.as_bytes(), properties).await
}
