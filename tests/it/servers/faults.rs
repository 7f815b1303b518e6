//! A real API server behind a connection that fails: nothing is lost, nothing is scaled in, and the error is clear.

use std::io::{Read as _, Write as _};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use outrigger::settings::ClusterAddress;

use super::lab::{Lab, describe};
use super::world::{World, world};
use crate::support::assert_names;
use crate::support::function::{Function, error};

/// What happens to a connection through the proxy.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Weather {
    Fair,
    /// Reset as soon as it is opened.
    Killed,
    /// Nothing comes back, and the connection stays.
    Silent,
    /// The request arrives; of the answer only so many bytes come back, then the connection ends.
    CutAfter(usize),
    /// The server's side is closed properly before it said anything.
    HalfClosed,
    /// What comes back is no TLS.
    Garbage,
    /// Everything comes back this much later.
    Slow(Duration),
}

const GARBAGE: &[u8] = b"HTTP/1.1 200 OK\r\n\r\n{\"garbage\": <<<";

/// A TCP proxy in front of the API server.
struct Proxy {
    address: ClusterAddress,
    weather: Arc<Mutex<Weather>>,
}

impl Proxy {
    fn start(world: &World) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
        let endpoint = format!("https://{}", listener.local_addr().unwrap());
        let upstream: SocketAddr = world.address().endpoint["https://".len()..]
            .parse()
            .unwrap();
        let weather = Arc::new(Mutex::new(Weather::Fair));
        let today = Arc::clone(&weather);
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let today = Arc::clone(&today);
                // Either side may go away at any time.
                std::thread::spawn(move || pass(&stream, upstream, &today).ok());
            }
        });
        Self {
            address: ClusterAddress {
                endpoint,
                ..world.address().clone()
            },
            weather,
        }
    }

    fn set(&self, weather: Weather) {
        *self.weather.lock().unwrap() = weather;
    }
}

fn pass(
    stream: &TcpStream,
    upstream: SocketAddr,
    weather: &Arc<Mutex<Weather>>,
) -> std::io::Result<()> {
    let now = || *weather.lock().unwrap();
    match now() {
        Weather::Killed => {
            // Closed with something unread: that resets it.
            stream.peek(&mut [0])?;
            return Ok(());
        }
        Weather::Garbage => {
            return (&*stream).write_all(GARBAGE);
        }
        Weather::HalfClosed => {
            stream.shutdown(Shutdown::Write)?;
            (&*stream).read_to_end(&mut Vec::new())?;
            return Ok(());
        }
        _ => {}
    }
    let server = TcpStream::connect(upstream)?;
    let (mut from_client, mut to_server) = (stream.try_clone()?, server.try_clone()?);
    std::thread::spawn(move || {
        std::io::copy(&mut from_client, &mut to_server).ok();
        to_server.shutdown(Shutdown::Write).ok();
    });
    let mut passed = 0;
    let mut buffer = [0; 16 * 1024];
    loop {
        let length = (&server).read(&mut buffer)?;
        if length == 0 {
            return stream.shutdown(Shutdown::Write);
        }
        match now() {
            Weather::Killed => return stream.shutdown(Shutdown::Both),
            Weather::HalfClosed => return stream.shutdown(Shutdown::Write),
            Weather::Garbage => return (&*stream).write_all(GARBAGE),
            Weather::Silent => continue,
            Weather::CutAfter(limit) if passed + length > limit => {
                (&*stream).write_all(&buffer[..limit.saturating_sub(passed)])?;
                return stream.shutdown(Shutdown::Both);
            }
            Weather::Slow(pause) => std::thread::sleep(pause),
            _ => {}
        }
        passed += length;
        (&*stream).write_all(&buffer[..length])?;
    }
}

async fn lab(world: &'static World) -> (Lab, Proxy) {
    let (lab, proxy) = (Lab::new(world).await, Proxy::start(world));
    describe(&lab.sandbox, &proxy.address);
    (lab, proxy)
}

async fn failed(function: &Function, left: Duration) -> String {
    let (kind, message) = error(&function.invoke_with_time_left("{}", left).await);
    assert_eq!(kind, "Outrigger.TargetsFailed");
    message
}

/// Fails while it is so, and does its work as soon as it is over.
async fn check(weather: Weather, left: u64, said: &[&str]) {
    let Some(world) = world() else { return };
    let (lab, proxy) = lab(world).await;
    let function = lab.function().await;
    proxy.set(weather);
    let message = failed(&function, Duration::from_secs(left)).await;
    assert_names(&message, &["worker", "cluster `demo`"]);
    assert_names(&message, said);
    assert_eq!(lab.replicas().await, Some(2), "{message}");
    proxy.set(Weather::Fair);
    function.answer("{}").await;
    assert_eq!(lab.replicas().await, Some(7));
    assert!(lab.remembered().await.is_some());
}

#[tokio::test]
async fn a_server_that_resets_every_connection() {
    check(Weather::Killed, 12, &["443"]).await;
}

#[tokio::test]
async fn a_server_that_closes_every_connection() {
    check(Weather::HalfClosed, 12, &["443"]).await;
}

#[tokio::test]
async fn a_server_that_speaks_no_tls() {
    check(Weather::Garbage, 12, &["443"]).await;
}

#[tokio::test]
async fn a_server_that_says_nothing() {
    check(Weather::Silent, 30, &["check the way to the server"]).await;
}

#[tokio::test]
async fn a_slow_server_is_waited_for() {
    let Some(world) = world() else { return };
    let (lab, proxy) = lab(world).await;
    let function = lab.function().await;
    proxy.set(Weather::Slow(Duration::from_millis(300)));
    function.answer("{}").await;
    assert_eq!(lab.replicas().await, Some(7));
}

/// Wherever an answer is cut off: the count is the old or the new one, the next pass finds out which, and writes it once.
#[tokio::test]
async fn an_answer_that_is_cut_off_anywhere_loses_nothing() {
    let Some(world) = world() else { return };
    for limit in [0, 1, 1_000, 2_000, 3_000, 4_000, 5_000, 6_000, 8_000] {
        let (lab, proxy) = lab(world).await;
        let function = lab.function().await;
        proxy.set(Weather::CutAfter(limit));
        function
            .invoke_with_time_left("{}", Duration::from_secs(12))
            .await;
        let between = lab.replicas().await;
        assert!(matches!(between, Some(2 | 7)), "{limit}: {between:?}");
        proxy.set(Weather::Fair);
        function.answer("{}").await;
        assert_eq!(lab.replicas().await, Some(7), "{limit}");
        // Written once: the first change made generation 2.
        assert_eq!(lab.worker().await["metadata"]["generation"], 2, "{limit}");
        // The pass that sees the new count remembers it.
        function.answer("{}").await;
        let state = lab.remembered().await.unwrap();
        assert_eq!(state["lastWritten"], 7, "{limit}: {state}");
    }
}

/// The server dies in the middle of everything, and comes back.
#[tokio::test]
async fn a_warm_function_finds_its_server_again() {
    let Some(world) = world() else { return };
    let (lab, proxy) = lab(world).await;
    let function = lab.function().await;
    function.answer("{}").await;
    for weather in [Weather::Killed, Weather::Garbage, Weather::HalfClosed] {
        proxy.set(weather);
        lab.sandbox.queues().set_counts("orders", 0, 0, 0);
        let message = failed(&function, Duration::from_secs(12)).await;
        assert_names(&message, &["cluster `demo`"]);
        assert_eq!(lab.replicas().await, Some(7), "{weather:?}");
        proxy.set(Weather::Fair);
        function.answer("{}").await;
        assert_eq!(lab.replicas().await, Some(7), "{weather:?}");
    }
}
