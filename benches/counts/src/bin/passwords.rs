//! What hashed passwords cost beside plain ones, at 1,000 connections a second, and how
//! long newcomers wait while others try passwords.
//!
//! ```sh
//! cargo run --release -p counts --bin passwords -- [ROUNDS]
//! ```

use std::{
    env,
    net::{Ipv4Addr, SocketAddr},
    sync::mpsc,
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result};
use rustix::time::{ClockId, clock_gettime};
use socks_tower::{
    Attempt, AuthenticateLayer, Credentials, HashedUsers, Rules, Server, Session, Socks5, Users,
    VerifyPasswords,
    stages::authenticate::password_file::{Scheme, hash_password},
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    sync::oneshot,
    task::JoinSet,
    time::{MissedTickBehavior, interval},
};
use tower::ServiceExt;

const PASSWORD: &str = "correct horse battery staple";
const COST: u32 = 10;
const USERS: usize = 100;
const A_SECOND: u32 = 1000;
const SECONDS: u32 = 5;

fn main() -> Result<()> {
    let rounds = env::args().nth(1).map_or(Ok(5), |arg| arg.parse())?;
    let hash = hash_password(PASSWORD, Scheme::Bcrypt { cost: COST })?;
    let names: Vec<_> = (0..USERS).map(|number| format!("user{number}")).collect();
    let plain = Users::try_from_iter(names.iter().map(|name| (name, PASSWORD)))?;
    let list = names
        .iter()
        .try_fold(HashedUsers::new(), |list, name| list.with_hash(name, &hash))?;
    let hashed = VerifyPasswords::new(list.clone())?;

    let mut taken = Vec::new();
    for round in 0..rounds {
        let measure = |is_hashed| {
            let layer = match is_hashed {
                true => AuthenticateLayer::password(hashed.clone()),
                false => AuthenticateLayer::password(plain.clone()),
            };
            proxy(layer, &names)
        };
        // Who goes first changes.
        let first = measure(round % 2 == 0)?;
        let second = measure(round % 2 == 1)?;
        taken.push(match round % 2 {
            0 => (second, first),
            _ => (first, second),
        });
    }
    println!("| passwords | CPU, µs/connection |\n|---|---:|");
    println!("| in clear | {:.1} |", median(taken.iter().map(|it| it.0)));
    println!("| by bcrypt | {:.1} |", median(taken.iter().map(|it| it.1)));
    let ratio = median(taken.iter().map(|(clear, hashed)| hashed / clear));
    println!("\nratio, the rounds' median: {ratio:.3}");

    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    runtime.block_on(async {
        println!("\n| newcomers | median, ms | longest, ms |\n|---|---:|---:|");
        for guessers in [0, 1, 16] {
            let (median, longest) = newcomers(&list, guessers).await?;
            println!("| beside {guessers} who guess | {median:.0} | {longest:.0} |");
        }
        Ok(())
    })
}

fn median(values: impl Iterator<Item = f64>) -> f64 {
    let mut values: Vec<_> = values.collect();
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(f64::NAN)
}

fn cpu(clock: ClockId) -> Duration {
    let time = clock_gettime(clock);
    let seconds = u64::try_from(time.tv_sec).unwrap_or_default();
    Duration::new(seconds, u32::try_from(time.tv_nsec).unwrap_or_default())
}

/// The proxy's CPU for a connection, in microseconds: the process's without the thread of
/// clients and targets. Each user has come once before.
fn proxy(auth: AuthenticateLayer, names: &[String]) -> Result<f64> {
    let (tell, listening) = mpsc::channel();
    let (stop, stopped) = oneshot::channel::<()>();
    let serving = thread::spawn(move || -> Result<()> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()?;
        runtime.block_on(async {
            let server = Server::bind("127.0.0.1:0").await?;
            tell.send(server.local_addr())?;
            let rules = Rules::new().permit_all_special();
            let stack = Socks5::new().with_auth(auth).with_rules(rules);
            let server = server.with_shutdown(async { drop(stopped.await) });
            Ok(server.serve(stack).await?)
        })
    });
    let proxy = listening.recv()?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let taken = runtime.block_on(async {
        let target = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let target_addr = target.local_addr()?;
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = target.accept().await {
                tokio::spawn(async move { stream.write_all(b"!").await });
            }
        });
        for name in names {
            connect(proxy, name, target_addr).await?;
        }
        let clocks = || (cpu(ClockId::ProcessCPUTime), cpu(ClockId::ThreadCPUTime));
        let (process, own) = clocks();
        let mut ticks = interval(Duration::from_secs(1) / A_SECOND);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Burst);
        let mut connections = JoinSet::new();
        let began = Instant::now();
        for name in names.iter().cycle().take((A_SECOND * SECONDS) as usize) {
            ticks.tick().await;
            let name = name.clone();
            connections.spawn(async move { connect(proxy, &name, target_addr).await });
        }
        while let Some(done) = connections.join_next().await {
            done??;
        }
        let rate = f64::from(A_SECOND * SECONDS) / began.elapsed().as_secs_f64();
        anyhow::ensure!(rate > 900.0, "{rate:.0} connections a second alone");
        let (process_then, own_then) = clocks();
        Ok((process_then - process) - (own_then - own))
    });
    drop(stop);
    serving.join().ok().context("the proxy panicked")??;
    Ok(taken?.as_secs_f64() * 1e6 / f64::from(A_SECOND * SECONDS))
}

/// One connection, by hand: a byte from the target, and its end.
async fn connect(proxy: SocketAddr, name: &str, target: SocketAddr) -> Result<()> {
    let mut stream = TcpStream::connect(proxy).await?;
    stream.set_nodelay(true)?;
    stream.write_all(&[5, 1, 2]).await?;
    let mut answer = [0; 2];
    stream.read_exact(&mut answer).await?;
    let mut login = vec![1];
    for field in [name, PASSWORD] {
        login.push(u8::try_from(field.len())?);
        login.extend(field.as_bytes());
    }
    stream.write_all(&login).await?;
    stream.read_exact(&mut answer).await?;
    anyhow::ensure!(answer == [1, 0], "not let in");
    let [high, low] = target.port().to_be_bytes();
    stream
        .write_all(&[5, 1, 0, 1, 127, 0, 0, 1, high, low])
        .await?;
    let mut reply = [0; 11];
    stream.read_exact(&mut reply).await?;
    anyhow::ensure!(reply[1] == 0, "no tunnel");
    Ok(())
}

/// Of each other 100 attempts wait at any time, half of names that nobody has.
const GUESSES: usize = 100;

/// How long users take to come in who come one after the other, from an address of their
/// own, while so many others guess. In milliseconds: the median, and the longest.
async fn newcomers(list: &HashedUsers, guessers: u8) -> Result<(f64, f64)> {
    let verifier = VerifyPasswords::new(list.clone())?.with_memory(Duration::ZERO);
    let attempt = |client: [u8; 4], name: &str, password: &str| {
        let session = Session::new().with_client_addr((client, 1).into());
        let credentials = Credentials::new(name, password)?;
        anyhow::Ok(Attempt::new(session, credentials))
    };
    let mut guessing = JoinSet::new();
    for guesser in 0..guessers {
        for lane in 0..GUESSES {
            let verifier = verifier.clone();
            guessing.spawn(async move {
                for number in 0.. {
                    let name = match lane % 2 {
                        0 => format!("user{}", number % USERS),
                        _ => format!("nobody{number}"),
                    };
                    let password = format!("guess {lane} {number}");
                    let guess = attempt([192, 0, 2, guesser], &name, &password)?;
                    anyhow::ensure!(verifier.clone().oneshot(guess).await.is_err());
                    // One that is refused at once has to come again.
                    tokio::time::sleep(Duration::from_millis(10)).await;
                }
                anyhow::Ok(())
            });
        }
    }
    tokio::time::sleep(Duration::from_secs(1)).await;
    let mut times = Vec::new();
    for number in 0..20_u8 {
        let name = format!("user{number}");
        let comes = attempt([198, 51, 100, number], &name, PASSWORD)?;
        let began = Instant::now();
        verifier.clone().oneshot(comes).await?;
        times.push(began.elapsed().as_secs_f64() * 1e3);
    }
    guessing.shutdown().await;
    let longest = times.iter().copied().fold(0.0, f64::max);
    Ok((median(times.into_iter()), longest))
}
