//! moto, an S3 server in a process of its own.

use std::{
    io::{BufRead, BufReader, Read, Write},
    net::{SocketAddr, TcpStream},
    path::Path,
    process::{Child, Command, Stdio},
    thread,
};

use anyhow::{Context as _, Result, bail, ensure};

/// The name of the only bucket.
pub const BUCKET: &str = "checkpoints";

const PROGRAM: &str = "from moto.server import main; main(['-H', '127.0.0.1', '-p', '0'])";

/// A server with an empty bucket. Dropping it ends it, and what it holds.
pub struct Server {
    child: Child,
    address: SocketAddr,
}

impl Server {
    /// Starts it on a free port.
    pub fn start() -> Result<Self> {
        let packages = Path::new(env!("CARGO_MANIFEST_DIR")).join("../.tools/moto/packages");
        ensure!(packages.is_dir(), "{} is not there: run deploy/setup/moto.sh", packages.display());
        let mut child = Command::new("python3")
            .args(["-u", "-c", PROGRAM])
            .env("PYTHONPATH", packages)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .context("python3 runs moto")?;
        let mut said = BufReader::new(child.stderr.take().context("it is piped")?);
        let address = address_in(&mut said);
        let mut server = Self { child, address: ([127, 0, 0, 1], 0).into() };
        server.address = address?;
        // It says a line for each request.
        thread::spawn(move || std::io::copy(&mut said, &mut std::io::sink()));
        server.make_bucket()?;
        Ok(server)
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    fn make_bucket(&self) -> Result<()> {
        let mut stream = TcpStream::connect(self.address)?;
        let head = format!(
            "PUT /{BUCKET} HTTP/1.1\r\nHost: {}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n",
            self.address
        );
        stream.write_all(head.as_bytes())?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer)?;
        ensure!(answer.starts_with("HTTP/1.1 200"), "{answer}");
        Ok(())
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Reads up to the line that says where it runs.
fn address_in(said: &mut impl BufRead) -> Result<SocketAddr> {
    let mut all = String::new();
    loop {
        let mut line = String::new();
        if said.read_line(&mut line)? == 0 {
            bail!("moto did not start:\n{all}");
        }
        if let Some((_, address)) = line.split_once("Running on http://") {
            return Ok(address.trim().parse()?);
        }
        all += &line;
    }
}
