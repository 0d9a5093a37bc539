//! moto plays S3 and Secrets Manager.

use std::process::{Child, Command};
use std::sync::OnceLock;

use lakekey_core::random::Random;
use serde_json::{Value, json};

use super::{RealTime, installed, started};

/// The one moto of this process.
pub struct Moto {
    _process: Child,
    port: u16,
}

impl Moto {
    pub fn shared() -> &'static Self {
        static MOTO: OnceLock<Moto> = OnceLock::new();
        MOTO.get_or_init(|| {
            let python = installed("moto").join("bin/python");
            let (process, port) = started(Command::new(python).args(["-c", SERVER]));
            Self { _process: process, port }
        })
    }

    /// What lakekey needs to work there, and nothing else.
    pub fn environment(&self) -> Vec<(String, String)> {
        let url = format!("http://127.0.0.1:{}", self.port);
        [
            ("AWS_ENDPOINT_URL", url.as_str()),
            ("AWS_REGION", "eu-central-1"),
            ("AWS_ACCESS_KEY_ID", "AKIAIOSFODNN7EXAMPLE"),
            ("AWS_SECRET_ACCESS_KEY", SECRET_ACCESS_KEY),
            ("AWS_SESSION_TOKEN", SESSION_TOKEN),
        ]
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .to_vec()
    }

    /// A bucket of this test's own.
    pub async fn bucket(&self) -> String {
        let name = format!("lakekey-{}", Random::system().nonce());
        let request = http::Request::put(format!("http://127.0.0.1:{}/{name}", self.port));
        let body = "<CreateBucketConfiguration xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\"><LocationConstraint>eu-central-1</LocationConstraint></CreateBucketConfiguration>";
        let answer = RealTime::send_once(request.header("authorization", SIGNED).body(body.into()).unwrap()).await;
        assert!(answer.status().is_success(), "{answer:?}");
        name
    }

    /// An object that somebody else put there.
    pub async fn put_object(&self, bucket: &str, key: &str, content: String) {
        let request = http::Request::put(format!("http://127.0.0.1:{}/{bucket}/{key}", self.port));
        let answer = RealTime::send_once(request.header("authorization", SIGNED).body(content.into()).unwrap()).await;
        assert!(answer.status().is_success(), "{answer:?}");
    }

    /// A call of SQS's own protocol.
    async fn sqs(&self, action: &str, body: Value) -> Value {
        let request = http::Request::post(format!("http://127.0.0.1:{}/", self.port))
            .header("authorization", SIGNED.replace("/s3/", "/sqs/"))
            .header("x-amz-target", format!("AmazonSQS.{action}"))
            .header("content-type", "application/x-amz-json-1.0");
        let answer = RealTime::send_once(request.body(body.to_string().into()).unwrap()).await;
        assert!(answer.status().is_success(), "{answer:?}");
        serde_json::from_slice(answer.body()).unwrap()
    }

    /// The URL of a queue of this test's own.
    pub async fn queue(&self) -> String {
        let made = self.sqs("CreateQueue", json!({ "QueueName": Random::system().nonce() })).await;
        made["QueueUrl"].as_str().unwrap().to_owned()
    }

    /// The text of the one message that waits in a queue.
    pub async fn message(&self, queue: &str) -> String {
        let received = self.sqs("ReceiveMessage", json!({ "QueueUrl": queue, "MaxNumberOfMessages": 10 })).await;
        let [message] = &received["Messages"].as_array().unwrap()[..] else { panic!("not one message: {received}") };
        message["Body"].as_str().unwrap().to_owned()
    }

    /// A secret that somebody else made.
    pub async fn put_secret(&self, name: &str, value: &str) {
        let body = json!({ "Name": name, "SecretString": value, "ClientRequestToken": Random::system().nonce() }).to_string();
        let request = http::Request::post(format!("http://127.0.0.1:{}/", self.port))
            .header("authorization", SIGNED.replace("/s3/", "/secretsmanager/"))
            .header("x-amz-target", "secretsmanager.CreateSecret")
            .header("content-type", "application/x-amz-json-1.1");
        let answer = RealTime::send_once(request.body(body.into()).unwrap()).await;
        assert!(answer.status().is_success(), "{answer:?}");
    }
}

/// Values that must never show.
pub const SECRET_ACCESS_KEY: &str = "wJalrXUtnFEMIK7MDENGbPxRfiCYEXAMPLEKEY";
pub const SESSION_TOKEN: &str = "IQoJb3JpZ2luX2VjEJr4EXAMPLETOKEN";

/// moto looks at whose region and service a request is, not at its signature.
const SIGNED: &str = "AWS4-HMAC-SHA256 Credential=x/20260101/eu-central-1/s3/aws4_request, SignedHeaders=host, Signature=x";

const SERVER: &str = "
import os, sys
from moto.server import ThreadedMotoServer
server = ThreadedMotoServer(ip_address='127.0.0.1', port=0, verbose=False)
server.start()
print(server.get_host_and_port()[1], flush=True)
sys.stdin.read()
os._exit(0)
";
