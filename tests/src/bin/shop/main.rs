//! A service with a database, in the shapes that its code has while a column is renamed.
//!
//! Told to stop (SIGTERM) it drains as the sample service does, and fails no request.

mod answers;
mod customers;

use answers::Shop;
use clap::Parser;
use customers::{Columns, Customers};
use handover_tests::service::{self, Drain, Phase, Terminate};
use std::{error::Error, path::PathBuf, process::ExitCode, sync::Arc, time::Duration};
use tokio::net::TcpListener;

/// How long idle connections may wait for their next request after SIGTERM.
const GRACE: Duration = Duration::from_secs(5);

/// A shop's customers with their addresses, over HTTP: GET and PUT /customers/ID, GET /ready.
///
/// Its sockets are those that it was passed (LISTEN_FDS, LISTEN_PID).
#[derive(Debug, Parser)]
#[command(name = "shop", disable_version_flag = true)]
struct Flags {
    /// The version that it tells in each answer's x-version.
    #[arg(long = "version", default_value = "v0")]
    version: String,
    /// The folder of PostgreSQL's socket.
    #[arg(long, value_name = "FOLDER")]
    database: PathBuf,
    /// The columns that its code knows.
    #[arg(long)]
    columns: Columns,
}

type Failed = Box<dyn Error + Send + Sync>;

fn main() -> ExitCode {
    let flags = Flags::parse();
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
    match runtime.map_err(Failed::from).and_then(|runtime| runtime.block_on(run(flags))) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("shop: {error}");
            ExitCode::FAILURE
        }
    }
}

async fn run(flags: Flags) -> Result<(), Failed> {
    // First of all: a SIGTERM that comes before the handler would end the program.
    let mut terminate = Terminate::new(false)?;
    let listeners = service::listeners(&[])?;
    let (drain, gone) = Drain::new();
    let customers = Customers::of(&flags.database, flags.columns);
    let shop = Arc::new(Shop::new(&flags.version, customers, drain)?);
    for (_, listener) in listeners {
        let listener = TcpListener::from_std(listener)?;
        tokio::spawn(accept(listener, Arc::clone(&shop)));
    }
    terminate.asked().await;
    shop.drain().enter(Phase::Draining);
    gone.wait(GRACE, shop.drain()).await;
    shop.customers().close().await;
    Ok(())
}

async fn accept(listener: TcpListener, shop: Arc<Shop>) {
    let serve = |stream: tokio::net::TcpStream, guard| {
        let shop = Arc::clone(&shop);
        tokio::spawn(async move {
            // Fails only for a connection that is gone already.
            let _ = stream.set_nodelay(true);
            service::http1(stream, shop.drain(), |request| shop.answer(request)).await;
            drop(guard);
        });
    };
    service::accept(listener, shop.drain(), serve).await;
}
