//! Logins, signed with the server's own key as `seckill token issue` does it, only many at a time.

use std::cell::Cell;
use std::path::Path;
use std::rc::Rc;

use anyhow::Context;
use jsonwebtoken::{Algorithm, EncodingKey, Header, encode};
use serde::Serialize;

use crate::generator::{Workload, Wrong};
use crate::record::Outcome;
use crate::wire::Connection;

#[derive(Serialize)]
struct Claims {
    id: u64,
    username: String,
    exp: u64,
}

/// 2100-01-01: the test is over by then.
const EXPIRES_AT: u64 = 4_102_444_800;

/// Cookie header values of buyers 1 to `count`, in this order.
///
/// # Errors
/// Without the server's own private key in its data directory.
pub fn sign(data_dir: &Path, count: u64) -> anyhow::Result<Vec<String>> {
    let file = data_dir.join("jwt.private.pem");
    let pem = std::fs::read(&file).with_context(|| file.display().to_string())?;
    let key = EncodingKey::from_rsa_pem(&pem)?;
    let threads = std::thread::available_parallelism().map_or(1, usize::from) as u64;
    let signing = |part: u64| -> anyhow::Result<Vec<String>> {
        let ids = count * part / threads + 1..=count * (part + 1) / threads;
        ids.map(|id| {
            let claims = Claims { id, username: format!("user{id}"), exp: EXPIRES_AT };
            Ok(format!("GMALL_TOKEN={}", encode(&Header::new(Algorithm::RS256), &claims, &key)?))
        })
        .collect()
    };
    std::thread::scope(|scope| {
        let workers: Vec<_> = (0..threads).map(|part| scope.spawn(move || signing(part))).collect();
        let mut cookies = Vec::new();
        for worker in workers {
            cookies.extend(worker.join().map_err(|_| anyhow::anyhow!("signing failed"))??);
        }
        Ok(cookies)
    })
}

/// The id of the buyer whose cookie stands at this place.
pub fn id_of(place: usize) -> u64 {
    place as u64 + 1
}

/// Shows every login to the server once, so that the measured phase does not measure signatures.
pub struct ShowLogins {
    /// From [`sign`].
    pub cookies: Rc<[String]>,
    /// How many are shown or on their way.
    pub shown: Cell<usize>,
}

impl Workload for ShowLogins {
    async fn arrive(&self, _: u64, connection: &mut Connection) -> anyhow::Result<Outcome> {
        let place = self.shown.replace(self.shown.get() + 1);
        let Some(cookie) = self.cookies.get(place) else { return Ok(Outcome::Refused) };
        let answer = connection.get("/api/v1/me", cookie).await?;
        match answer.status {
            200 | 404 => Ok(Outcome::Shown),
            429 => Ok(Outcome::Limited),
            503 => Ok(Outcome::Busy),
            _ => Err(Wrong(format!("a login is not accepted: {} {}", answer.status, answer.text())).into()),
        }
    }

    fn is_done(&self) -> bool {
        self.shown.get() >= self.cookies.len()
    }
}
