//! Counts the words of a text: a Lambda function in Rust by AWS's published client, for `provided`.
use lambda_runtime::{run, service_fn, Error, LambdaEvent};
use serde::{Deserialize, Serialize};
use std::collections::HashMap;

#[derive(Deserialize)]
struct Request { text: String }

#[derive(Serialize)]
struct Response { counts: HashMap<String, usize>, id: String }

async fn count(event: LambdaEvent<Request>) -> Result<Response, Error> {
    if event.payload.text.is_empty() { return Err("no text".into()); }
    let mut counts = HashMap::new();
    for word in event.payload.text.split_whitespace() { *counts.entry(word.to_lowercase()).or_insert(0) += 1; }
    println!("counted {}", counts.len());
    Ok(Response { counts, id: event.context.request_id })
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Error> { run(service_fn(count)).await }
