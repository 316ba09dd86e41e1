//! A spike of buyers on one flash sale.

use std::cell::RefCell;
use std::collections::{HashMap, HashSet};
use std::rc::Rc;
use std::time::Duration;

use anyhow::{Context, bail};
use tokio::time::Instant;

use super::{Check, between};
use crate::admin::Stock;
use crate::buyers::id_of;
use crate::generator::{self, Pace, Workload, Wrong};
use crate::record::Outcome;
use crate::target::Target;
use crate::wire::{Answer, Connection};

/// What the buyers of a sale were told.
#[derive(Default)]
struct Told {
    /// Order number of each buyer who won, by the buyer's place.
    wins: HashMap<usize, String>,
    /// A second win of one buyer, or another number at a repeat.
    contradictions: Vec<String>,
    /// "You have won before", to be held against the wins once all are known.
    repeats: HashMap<usize, String>,
    /// Buyers with a request whose outcome is not known.
    unknown: HashSet<usize>,
}

/// Buyers at one SKU's sale: buyer k comes as number k and again each time all the others have come.
pub struct Spike {
    path: String,
    cookies: Rc<[String]>,
    /// Stop once so many have won.
    until_won: Option<u64>,
    told: RefCell<Told>,
}

impl Spike {
    /// On the sale of this SKU.
    pub fn new(sku: u64, cookies: Rc<[String]>) -> Self {
        Self { path: format!("/miaosha/{sku}"), cookies, until_won: None, told: RefCell::default() }
    }

    /// Ends once so many have won.
    #[must_use]
    pub fn until_won(mut self, wins: u64) -> Self {
        self.until_won = Some(wins);
        self
    }

    async fn attempt(&self, place: usize, connection: &mut Connection) -> anyhow::Result<Outcome> {
        let cookie = self.cookies.get(place).context("no such buyer")?;
        let answer = match connection.post(&self.path, cookie, "").await {
            Ok(answer) => answer,
            Err(error) => {
                self.told.borrow_mut().unknown.insert(place);
                return Err(error);
            }
        };
        let outcome = read(&answer)?;
        if matches!(outcome, Outcome::Won | Outcome::AlreadyWon) {
            let number = between(answer.body, br#""orderSn":""#, b'"');
            let number = number.ok_or_else(|| Wrong(format!("no order number: {}", answer.text())))?;
            self.told.borrow_mut().hear(place, outcome, number);
        }
        Ok(outcome)
    }

    /// Asks again for every buyer with an unknown outcome, until each is known.
    async fn resolve_unknown(&self, public: &str) -> anyhow::Result<()> {
        let mut connection = Connection::new(public);
        let unknown: Vec<usize> = self.told.borrow().unknown.iter().copied().collect();
        for place in unknown {
            let mut tries_left = 50;
            loop {
                match self.attempt(place, &mut connection).await {
                    Ok(Outcome::Busy | Outcome::Limited) | Err(_) if tries_left > 0 => {}
                    result => {
                        result?;
                        break;
                    }
                }
                tries_left -= 1;
                tokio::time::sleep(Duration::from_millis(300)).await;
            }
        }
        Ok(())
    }
}

impl Told {
    fn hear(&mut self, place: usize, outcome: Outcome, number: &str) {
        let known = match outcome {
            Outcome::Won => self.wins.insert(place, number.to_owned()),
            _ => self.repeats.insert(place, number.to_owned()),
        };
        if let Some(known) = known
            && (outcome == Outcome::Won || known != number)
        {
            self.contradictions.push(format!("buyer {} was told {known} and {number}", id_of(place)));
        }
    }
}

impl Told {
    /// Who won which number, and what cannot be.
    fn judge(&self) -> (HashMap<usize, String>, Vec<String>) {
        let mut wins = self.wins.clone();
        let mut contradictions = self.contradictions.clone();
        for (place, number) in &self.repeats {
            match wins.get(place) {
                Some(first) if first == number => {}
                Some(first) => {
                    contradictions.push(format!("buyer {} won {first} and was told {number}", id_of(*place)));
                }
                // The first answer was lost; this one tells of the same win.
                None if self.unknown.contains(place) => {
                    wins.insert(*place, number.clone());
                }
                None => contradictions.push(format!("buyer {} never won and was told {number}", id_of(*place))),
            }
        }
        (wins, contradictions)
    }
}

fn read(answer: &Answer<'_>) -> Result<Outcome, Wrong> {
    let says = |words: &str| answer.body.windows(words.len()).any(|window| window == words.as_bytes());
    match answer.status {
        200 if answer.body.starts_with(b"{\"code\":0") => Ok(Outcome::Won),
        200 if says("欢迎再次秒杀") => Ok(Outcome::SoldOut),
        200 if says("您已参与过") => Ok(Outcome::AlreadyWon),
        200 if says("秒杀尚未开始") || says("秒杀结束") => Ok(Outcome::NotOpen),
        429 => Ok(Outcome::Limited),
        503 => Ok(Outcome::Busy),
        status => Err(Wrong(format!("status {status}: {}", answer.text()))),
    }
}

impl Workload for Spike {
    async fn arrive(&self, number: u64, connection: &mut Connection) -> anyhow::Result<Outcome> {
        let place = usize::try_from(number)? % self.cookies.len().max(1);
        self.attempt(place, connection).await
    }

    fn is_done(&self) -> bool {
        self.until_won.is_some_and(|wins| self.told.borrow().wins.len() as u64 >= wins)
    }
}

/// A sale prepared for a run.
pub struct PreparedSale {
    /// What it sells.
    pub sku: u64,
    /// Its id.
    pub id: String,
    /// Units for sale.
    pub units: u64,
    before: Stock,
}

/// Arms a sale of so many units of a SKU.
///
/// # Errors
/// What the server refuses.
pub async fn prepare(target: &Target, sku: u64, units: u64) -> anyhow::Result<PreparedSale> {
    let id = target.admin.arm(sku, units).await?;
    let armed = target.admin.stock(sku).await?;
    let before = Stock { locked: armed.locked - i64::try_from(units)?, ..armed };
    eprintln!("flash sale {id} of {units} units of SKU {sku} is armed");
    Ok(PreparedSale { sku, id, units, before })
}

/// Waits until every winner has an order, ends the sale, and holds everything that was told against the store.
/// Answers the checks and how many orders the store has.
///
/// # Errors
/// When the server does not answer.
pub async fn reconcile(target: &Target, sale: &PreparedSale, spike: Rc<Spike>) -> anyhow::Result<(Vec<Check>, u64)> {
    spike.resolve_unknown(&target.public).await?;
    let counts = wait_for_orders(target, &sale.id).await?;
    target.admin.end(&sale.id).await?;
    let after = target.admin.stock(sale.sku).await?;

    let (wins, contradictions) = spike.told.borrow().judge();
    let distinct: HashSet<&String> = wins.values().collect();
    let missing = missing_orders(target, &spike.cookies, &wins).await;
    let kept = counts.granted - counts.released;
    let checks = vec![
        Check::none("no buyer was told two different things", &contradictions),
        Check::same("every win has its own order number (wins told, numbers)", wins.len(), distinct.len()),
        Check::same("wins told = units granted in the store", wins.len() as u64, kept),
        Check::same("units granted = orders made", counts.granted, counts.ordered),
        Check {
            name: "not more is sold than was for sale".into(),
            ok: kept <= sale.units && kept + counts.remaining == sale.units,
            detail: format!("{kept} sold + {} left of {}", counts.remaining, sale.units),
        },
        Check::none("every win is an order its buyer can see", &missing),
        Check::same("no unit is lost or made (stock before, after)", sale.before.stock, after.stock),
        Check::same(
            "no unit leaks: locked = before + unpaid orders",
            sale.before.locked + i64::try_from(kept)?,
            after.locked,
        ),
    ];
    Ok((checks, counts.ordered))
}

/// Waits until every winner has an order. The server counts the sale's orders for each answer, which is work on the same
/// cores, so the pause between two questions is twice what an answer takes.
///
/// # Errors
/// When that takes more than a minute.
pub async fn wait_for_orders(target: &Target, sale: &str) -> anyhow::Result<crate::admin::SaleCounts> {
    let started = Instant::now();
    let mut pause = Duration::from_millis(50);
    while started.elapsed() < Duration::from_secs(60) {
        tokio::time::sleep(pause).await;
        let asked = Instant::now();
        let counts = target.admin.sale(sale).await?;
        if counts.ordered == counts.granted {
            return Ok(counts);
        }
        pause = pause.max(2 * asked.elapsed());
    }
    bail!("not every winner has an order after a minute")
}

/// Wins that are no order of their buyer.
async fn missing_orders(target: &Target, cookies: &Rc<[String]>, wins: &HashMap<usize, String>) -> Vec<String> {
    let seen = Rc::new(SeeOrders {
        cookies: cookies.clone(),
        orders: wins.iter().map(|(place, number)| (*place, format!("/api/v1/attempts/{number}"))).collect(),
        expected: br#""status":"ordered""#,
    });
    see(target, seen).await
}

/// Each buyer looks at what they were told is theirs.
pub(super) struct SeeOrders {
    pub cookies: Rc<[String]>,
    /// Place of the buyer, path of the order.
    pub orders: Vec<(usize, String)>,
    /// What must stand in the answer.
    pub expected: &'static [u8],
}

/// Answers what was not seen.
pub(super) async fn see(target: &Target, orders: Rc<SeeOrders>) -> Vec<String> {
    let next = Rc::new(RefCell::new(Looking { at: 0, missing: Vec::new() }));
    let looking = Rc::new(Look { orders, next: next.clone() });
    generator::run("reconcile", &target.public, 32, Pace::Closed(Duration::from_secs(600)), looking).await;
    next.take().missing
}

#[derive(Default)]
struct Looking {
    at: usize,
    missing: Vec<String>,
}

struct Look {
    orders: Rc<SeeOrders>,
    next: Rc<RefCell<Looking>>,
}

impl Workload for Look {
    async fn arrive(&self, _: u64, connection: &mut Connection) -> anyhow::Result<Outcome> {
        let at = self.next.borrow().at;
        self.next.borrow_mut().at = at + 1;
        let Some((place, path)) = self.orders.orders.get(at) else { return Ok(Outcome::Refused) };
        let cookie = self.orders.cookies.get(*place).map(String::as_str).unwrap_or_default();
        let mut last = String::new();
        for _ in 0..50 {
            match connection.get(path, cookie).await {
                Ok(answer) if answer.status == 429 || answer.status == 503 => last = answer.text(),
                Ok(answer) => {
                    let expected = self.orders.expected;
                    if answer.status == 200 && answer.body.windows(expected.len()).any(|window| window == expected) {
                        return Ok(Outcome::Shown);
                    }
                    last = format!("status {} {}", answer.status, answer.text());
                    break;
                }
                Err(error) => last = error.to_string(),
            }
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
        self.next.borrow_mut().missing.push(format!("buyer {} at {path}: {last}", id_of(*place)));
        Ok(Outcome::Refused)
    }

    fn is_done(&self) -> bool {
        self.next.borrow().at >= self.orders.orders.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(status: u16, body: &str) -> Result<Outcome, String> {
        read(&Answer { status, body: body.as_bytes() }).map_err(|wrong| wrong.to_string())
    }

    #[test]
    fn answers_are_told_apart() {
        let refused = |msg: &str| format!("{{\"code\":1,\"msg\":\"{msg}\",\"data\":null}}");
        assert_eq!(answer(200, r#"{"code":0,"msg":"x","data":{"orderSn":"1"}}"#), Ok(Outcome::Won));
        assert_eq!(answer(200, &refused("秒杀失败，欢迎再次秒杀！")), Ok(Outcome::SoldOut));
        assert_eq!(answer(200, &refused("您已参与过本次秒杀")), Ok(Outcome::AlreadyWon));
        assert_eq!(answer(200, &refused("秒杀结束！")), Ok(Outcome::NotOpen));
        assert_eq!(answer(503, ""), Ok(Outcome::Busy));
        assert!(answer(200, "{}").is_err() && answer(500, "").is_err() && answer(404, "").is_err());
    }

    #[test]
    fn a_second_win_and_another_number_are_contradictions() {
        let mut told = Told::default();
        told.hear(0, Outcome::Won, "1");
        told.hear(0, Outcome::AlreadyWon, "1");
        told.hear(0, Outcome::AlreadyWon, "1");
        assert!(told.contradictions.is_empty());
        told.hear(0, Outcome::Won, "2");
        told.hear(0, Outcome::AlreadyWon, "3");
        assert_eq!(told.contradictions.len(), 2);
    }

    #[test]
    fn a_lost_win_is_known_by_its_repeat_and_a_made_up_one_is_not() {
        let mut told = Told::default();
        told.unknown.insert(0);
        told.hear(0, Outcome::AlreadyWon, "1");
        told.hear(1, Outcome::AlreadyWon, "2");
        let (wins, contradictions) = told.judge();
        assert_eq!((wins.len(), wins.get(&0).map(String::as_str), contradictions.len()), (1, Some("1"), 1));
    }
}
