//! Clients that write and read customers' addresses all the time, and the log of what they were told was written. It is
//! outside the database, so that it shows what the database lost.

use super::shop::Shop;
use handover_tests::{
    http::{Answer, Connection},
    process::wait_until,
};
use std::{
    collections::BTreeMap,
    io,
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    thread::{self, JoinHandle},
    time::Duration,
};

/// Clients; each has the customers whose number leaves its own as the rest, so that nobody else writes them.
const CLIENTS: i64 = 4;
/// Between two requests of a client.
const PACE: Duration = Duration::from_millis(2);
/// So many customers are there only once a client writes them.
const NEW: i64 = 400;
/// How often a customer that was written is taken again, of ten requests.
const AGAIN: u64 = 6;

/// What a customer's address may be: the one that was acknowledged last, or one sent since without an answer.
#[derive(Clone, Debug)]
struct Logged {
    acknowledged: Option<String>,
    sent: Vec<String>,
}

/// What a client saw.
#[derive(Debug, Default)]
struct Seen {
    log: BTreeMap<i64, Logged>,
    reads: u64,
    writes: u64,
    failures: Vec<String>,
}

/// Clients at work.
pub(super) struct Clients {
    stop: Arc<AtomicBool>,
    requests: Arc<AtomicU64>,
    threads: Vec<JoinHandle<Seen>>,
    rows: i64,
}

/// What was written, to be held against the table.
pub(super) struct Log {
    log: BTreeMap<i64, Logged>,
    failures: Vec<String>,
    rows: i64,
    /// Requests that were answered, reads and writes.
    pub(super) counts: (u64, u64),
}

/// The address that a customer has from the beginning.
pub(super) fn first_address(id: i64) -> String {
    format!("c{id}@example.org")
}

impl Clients {
    /// On all hosts, with a table of so many customers.
    pub(super) fn on(shop: &Shop, rows: i64) -> Self {
        let (stop, requests) = (Arc::default(), Arc::<AtomicU64>::default());
        let threads = (0..CLIENTS)
            .map(|number| {
                let (stop, requests) = (Arc::clone(&stop), Arc::clone(&requests));
                let client = Client { number, rows, addresses: shop.fleet.addresses() };
                thread::spawn(move || client.run(&stop, &requests))
            })
            .collect();
        let clients = Self { stop, requests, threads, rows };
        clients.go_on();
        clients
    }

    /// Goes on for some requests more.
    #[track_caller]
    pub(super) fn go_on(&self) {
        let enough = self.requests.load(Ordering::Relaxed) + 300;
        let happens = || self.requests.load(Ordering::Relaxed) >= enough;
        wait_until(Duration::from_secs(60), "300 more requests", happens);
    }

    /// Lets the requests that run end.
    pub(super) fn stop(self) -> Log {
        self.stop.store(true, Ordering::Relaxed);
        let mut all = Log { log: BTreeMap::new(), failures: Vec::new(), rows: self.rows, counts: (0, 0) };
        for client in self.threads {
            let seen = client.join().unwrap();
            assert!(
                seen.reads > 20 && seen.writes > 20,
                "a client did nothing: {}, {}",
                seen.reads,
                seen.writes
            );
            all.counts = (all.counts.0 + seen.reads, all.counts.1 + seen.writes);
            all.log.extend(seen.log);
            all.failures.extend(seen.failures);
        }
        all
    }
}

impl Log {
    /// Fails the test where a request failed, or a row of the table is not what the log says: written ones have the value that
    /// was acknowledged last, all others the one of the beginning, and there is none more or less.
    #[track_caller]
    pub(super) fn assert_nothing_is_lost(&self, shop: &Shop, column: &str) {
        let failures = &self.failures;
        assert!(
            failures.is_empty(),
            "{} requests failed: {:#?}",
            failures.len(),
            &failures[..failures.len().min(5)]
        );
        let new = self.log.keys().filter(|id| **id > self.rows).count();
        let all = shop.number("SELECT count(*) FROM customers");
        assert_eq!(all, self.rows + i64::try_from(new).unwrap(), "customers");
        let changed: BTreeMap<i64, Option<String>> = shop
            .rows(&format!(
                "SELECT id, {column} FROM customers WHERE {column} IS DISTINCT FROM 'c' || id || '@example.org'"
            ))
            .into_iter()
            .collect();
        for (id, found) in &changed {
            let right = self.log.get(id).is_some_and(|logged| logged.allows(found.as_deref()));
            assert!(right, "{column} of customer {id} is {found:?}, and the log says {:?}", self.log.get(id));
        }
        let lost = self
            .log
            .iter()
            .find(|(id, logged)| !changed.contains_key(*id) && !logged.allows(Some(&first_address(**id))));
        assert!(lost.is_none(), "{column} has what it had at the beginning: {lost:?}");
        println!(
            "{} reads and {} writes, 0 failed; {} customers written, each of {all} rows is right in {column}",
            self.counts.0,
            self.counts.1,
            self.log.len()
        );
    }
}

impl Logged {
    fn allows(&self, found: Option<&str>) -> bool {
        found == self.acknowledged.as_deref()
            || found.is_some_and(|found| self.sent.iter().any(|sent| sent == found))
    }
}

struct Client {
    number: i64,
    rows: i64,
    addresses: Vec<SocketAddr>,
}

impl Client {
    fn run(&self, stop: &AtomicBool, requests: &AtomicU64) -> Seen {
        let mut seen = Seen::default();
        // Every second one keeps its connection.
        let keeps = self.number % 2 == 0;
        let mut kept: Option<Connection> = None;
        let mut random = 0x9E37_79B9_7F4A_7C15_u64 ^ self.number.unsigned_abs();
        for turn in 0.. {
            if stop.load(Ordering::Relaxed) {
                break;
            }
            random ^= random << 13;
            random ^= random >> 7;
            random ^= random << 17;
            let id = self.customer(random, &seen.log);
            let address = self.addresses[usize::try_from(random >> 40).unwrap() % self.addresses.len()];
            let mut connection = match kept.take().map_or_else(|| Connection::open(address), Ok) {
                Ok(connection) => connection,
                Err(error) => {
                    seen.failures.push(format!("no connection to {address}: {error}"));
                    continue;
                }
            };
            let closes = if random.is_multiple_of(3) {
                seen.write(&mut connection, id, format!("w{}-{turn}@example.org", self.number), self.rows)
            } else {
                seen.read(&mut connection, id, self.rows)
            };
            // What is closed by its client is closed with its answer whole.
            if keeps && !closes && turn % 50 != 49 {
                kept = Some(connection);
            }
            requests.fetch_add(1, Ordering::Relaxed);
            thread::sleep(PACE);
        }
        seen
    }

    /// One of its own customers: often one that it wrote before.
    fn customer(&self, random: u64, log: &BTreeMap<i64, Logged>) -> i64 {
        let which = random >> 8;
        if !log.is_empty() && random % 10 < AGAIN {
            let nth = usize::try_from(which).unwrap() % log.len();
            return log.keys().nth(nth).copied().unwrap();
        }
        let all = (self.rows + NEW) / CLIENTS;
        i64::try_from(which % all.unsigned_abs()).unwrap() * CLIENTS + self.number + 1
    }
}

impl Seen {
    /// Writes; tells whether the connection is of no further use.
    fn write(&mut self, connection: &mut Connection, id: i64, address: String, rows: i64) -> bool {
        let before = (id <= rows).then(|| first_address(id));
        let logged = self.log.entry(id).or_insert_with(|| Logged { acknowledged: before, sent: Vec::new() });
        logged.sent.push(address.clone());
        let answer = connection.put(&format!("/customers/{id}"), &address);
        if matches!(&answer, Ok(answer) if answer.status == 200) {
            *logged = Logged { acknowledged: Some(address), sent: Vec::new() };
            self.writes += 1;
        }
        self.judge(&format!("PUT of customer {id}"), answer, |status, _| status == 200)
    }

    /// Reads, and holds it against the log.
    fn read(&mut self, connection: &mut Connection, id: i64, rows: i64) -> bool {
        let answer = connection.get(&format!("/customers/{id}"));
        let before = (id <= rows).then(|| first_address(id));
        let logged =
            self.log.get(&id).cloned().unwrap_or_else(|| Logged { acknowledged: before, sent: Vec::new() });
        self.reads += 1;
        self.judge(
            &format!("GET of customer {id}, logged as {logged:?}"),
            answer,
            |status, body| match status {
                200 => logged.allows(Some(body)),
                404 => logged.allows(None),
                _ => false,
            },
        )
    }

    fn judge(&mut self, what: &str, answer: io::Result<Answer>, right: impl Fn(u16, &str) -> bool) -> bool {
        match answer {
            Ok(answer) if right(answer.status, &answer.body) => answer.says_close(),
            Ok(answer) => {
                let version = answer.headers.get("x-version").cloned().unwrap_or_default();
                self.failures.push(format!("{what}: {version} says {} {}", answer.status, answer.body));
                true
            }
            Err(error) => {
                self.failures.push(format!("{what}: {error}"));
                true
            }
        }
    }
}
