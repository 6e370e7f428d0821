//! Compiles `handover.v1` in pure Rust: nobody has to install protoc.

use std::error::Error;

const FILES: [&str; 3] = ["handover/v1/types.proto", "handover/v1/agent.proto", "handover/v1/operator.proto"];

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo:rerun-if-changed=proto");
    let descriptors = protox::compile(FILES, ["proto"])?;
    let out = std::path::PathBuf::from(std::env::var("OUT_DIR")?);
    std::fs::write(out.join("descriptors.bin"), prost::Message::encode_to_vec(&descriptors))?;
    tonic_prost_build::configure().compile_fds(descriptors)?;
    Ok(())
}
