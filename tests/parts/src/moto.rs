//! moto plays S3, SQS and Secrets Manager, for anybody's credentials. Its Secrets Manager asks no function for the steps of a
//! rotation: it says which version they are to make, and a test asks.

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;

use anyhow::{Context, ensure};
use bytes::Bytes;
use lakekey_core::random::Random;
use serde_json::{Value, json};

use crate::python;
use crate::real_time::in_real_time;

/// A running moto; it ends when this process does, for it watches a pipe that only we hold.
pub struct Moto {
    _process: Child,
    port: u16,
}

impl Moto {
    /// Starts one.
    pub fn start() -> anyhow::Result<Self> {
        let python = python::programs("moto")?.join("python");
        let mut command = Command::new(python);
        command.args(["-c", SERVER]).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
        let mut process = command.spawn().context("moto can't be started")?;
        let mut line = String::new();
        BufReader::new(process.stdout.take().context("its stdout is a pipe")?).read_line(&mut line)?;
        let port = line.trim().parse().with_context(|| format!("moto did not come up: {line:?}"))?;
        Ok(Self { _process: process, port })
    }

    /// The one moto of this process.
    pub fn shared() -> &'static Self {
        static MOTO: OnceLock<Moto> = OnceLock::new();
        MOTO.get_or_init(|| Self::start().unwrap_or_else(|error| panic!("{error:#}")))
    }

    /// What lakekey needs to work there, and nothing else.
    pub fn environment(&self) -> Vec<(String, String)> {
        [
            ("AWS_ENDPOINT_URL", self.address().as_str()),
            ("AWS_REGION", REGION),
            ("AWS_ACCESS_KEY_ID", "AKIAIOSFODNN7EXAMPLE"),
            ("AWS_SECRET_ACCESS_KEY", SECRET_ACCESS_KEY),
            ("AWS_SESSION_TOKEN", SESSION_TOKEN),
        ]
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .to_vec()
    }

    fn address(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// A bucket of this test's own.
    pub async fn bucket(&self) -> anyhow::Result<String> {
        let name = format!("lakekey-{}", Random::system().nonce());
        let place = format!(
            "<CreateBucketConfiguration xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\"><LocationConstraint>{REGION}</LocationConstraint></CreateBucketConfiguration>"
        );
        self.done(self.request("PUT", &format!("/{name}"), "s3", &[]), place).await?;
        Ok(name)
    }

    /// Takes a bucket away, with all that is in it.
    pub async fn remove_bucket(&self, bucket: &str) -> anyhow::Result<()> {
        let listed = self.done(self.request("GET", &format!("/{bucket}"), "s3", &[]), String::new()).await?;
        let text = String::from_utf8_lossy(&listed).into_owned();
        for part in text.split("<Key>").skip(1) {
            let key = part.split("</Key>").next().unwrap_or_default();
            self.done(self.request("DELETE", &format!("/{bucket}/{key}"), "s3", &[]), String::new()).await?;
        }
        self.done(self.request("DELETE", &format!("/{bucket}"), "s3", &[]), String::new()).await.map(drop)
    }

    /// An object that somebody else put there.
    pub async fn put_object(&self, bucket: &str, key: &str, content: String) -> anyhow::Result<()> {
        self.done(self.request("PUT", &format!("/{bucket}/{key}"), "s3", &[]), content).await.map(drop)
    }

    /// The URL of a queue of this test's own.
    pub async fn queue(&self) -> anyhow::Result<String> {
        let made = self.sqs("CreateQueue", json!({ "QueueName": Random::system().nonce() })).await?;
        made["QueueUrl"].as_str().map(str::to_owned).context("the URL of the queue")
    }

    /// The texts of messages that wait in a queue, with their receipts.
    pub async fn messages(&self, queue: &str) -> anyhow::Result<Vec<(String, String)>> {
        let received = self.sqs("ReceiveMessage", json!({ "QueueUrl": queue, "MaxNumberOfMessages": 10 })).await?;
        let word = |message: &Value, key: &str| message[key].as_str().unwrap_or_default().to_owned();
        let messages = received["Messages"].as_array().into_iter().flatten();
        Ok(messages.map(|message| (word(message, "Body"), word(message, "ReceiptHandle"))).collect())
    }

    /// The text of the one message that waits in a queue.
    pub async fn message(&self, queue: &str) -> anyhow::Result<String> {
        let mut messages = self.messages(queue).await?;
        ensure!(messages.len() == 1, "not one message but {}", messages.len());
        messages.pop().map(|(body, _)| body).context("a message")
    }

    /// Takes a message off for good.
    pub async fn delete_message(&self, queue: &str, receipt: &str) -> anyhow::Result<()> {
        self.sqs("DeleteMessage", json!({ "QueueUrl": queue, "ReceiptHandle": receipt })).await.map(drop)
    }

    async fn sqs(&self, action: &str, body: Value) -> anyhow::Result<Value> {
        let headers =
            [("x-amz-target", format!("AmazonSQS.{action}")), ("content-type", "application/x-amz-json-1.0".to_owned())];
        let answer = self.done(self.request("POST", "/", "sqs", &headers), body.to_string()).await?;
        Ok(serde_json::from_slice(&answer)?)
    }

    /// A secret that somebody else made.
    pub async fn put_secret(&self, name: &str, value: &str) -> anyhow::Result<()> {
        let body = json!({ "Name": name, "SecretString": value, "ClientRequestToken": Random::system().nonce() });
        let (status, answer) = self.secrets_manager("CreateSecret", body).await?;
        ensure!(status == 200, "moto answered {status} to CreateSecret: {answer}");
        Ok(())
    }

    /// A call of Secrets Manager's own protocol: the status and the answer, whatever it is.
    pub async fn secrets_manager(&self, action: &str, body: Value) -> anyhow::Result<(u16, Value)> {
        let headers =
            [("x-amz-target", format!("secretsmanager.{action}")), ("content-type", "application/x-amz-json-1.1".to_owned())];
        let (status, answer) = self.send(self.request("POST", "/", "secretsmanager", &headers), body.to_string()).await?;
        Ok((status, serde_json::from_slice(&answer)?))
    }

    /// `RotateSecret`, where a function is set up: registers the version, labelled and empty. Gives the secret's ARN.
    pub async fn begin_rotation(&self, name: &str, token: &str) -> anyhow::Result<String> {
        let json = [("content-type", "application/json".to_owned())];
        let no_docker = json!({ "lambda": { "use_docker": false } }).to_string();
        self.done(self.request("POST", "/moto-api/config", "moto", &json), no_docker).await?;
        let function = format!("rotates-{}", Random::system().nonce());
        let form = [("content-type", "application/x-www-form-urlencoded".to_owned())];
        let role = format!("Action=CreateRole&Version=2010-05-08&RoleName={function}&AssumeRolePolicyDocument=%7B%7D");
        self.done(self.request("POST", "/", "iam", &form), role).await?;
        let made = json!({
            "FunctionName": function, "Runtime": "provided.al2023", "Handler": "bootstrap",
            "Role": format!("arn:aws:iam::123456789012:role/{function}"), "Code": { "ZipFile": EMPTY_ZIP },
        });
        let made = self.done(self.request("POST", "/2015-03-31/functions", "lambda", &json), made.to_string()).await?;
        let made: Value = serde_json::from_slice(&made)?;
        let order = json!({
            "SecretId": name, "ClientRequestToken": token, "RotationLambdaARN": made["FunctionArn"],
            "RotationRules": { "AutomaticallyAfterDays": 30 },
        });
        let (status, answer) = self.secrets_manager("RotateSecret", order).await?;
        ensure!(status == 200, "moto answered {status} to RotateSecret: {answer}");
        answer["ARN"].as_str().map(str::to_owned).context("the ARN of the secret")
    }

    /// moto looks at whose region and service a request is, not at its signature.
    fn request(&self, method: &str, path: &str, service: &str, headers: &[(&str, String)]) -> http::request::Builder {
        let signed =
            format!("AWS4-HMAC-SHA256 Credential=x/20260101/{REGION}/{service}/aws4_request, SignedHeaders=host, Signature=x");
        let request = http::Request::builder().method(method).uri(format!("{}{path}", self.address()));
        headers.iter().fold(request.header("authorization", signed), |request, (name, value)| request.header(*name, value))
    }

    async fn done(&self, request: http::request::Builder, body: String) -> anyhow::Result<Bytes> {
        let what = format!("{:?} {:?}", request.method_ref(), request.uri_ref());
        let (status, answer) = self.send(request, body).await?;
        ensure!((200..300).contains(&status), "moto answered {status} to {what}: {}", String::from_utf8_lossy(&answer));
        Ok(answer)
    }

    async fn send(&self, request: http::request::Builder, body: String) -> anyhow::Result<(u16, Bytes)> {
        let request = reqwest::Request::try_from(request.body(body)?)?;
        in_real_time(async move {
            let client = reqwest::Client::builder().no_proxy().build()?;
            let answer = client.execute(request).await?;
            Ok((answer.status().as_u16(), answer.bytes().await?))
        })
        .await
    }
}

/// Values that must never show.
pub const SECRET_ACCESS_KEY: &str = "wJalrXUtnFEMIK7MDENGbPxRfiCYEXAMPLEKEY";
pub const SESSION_TOKEN: &str = "IQoJb3JpZ2luX2VjEJr4EXAMPLETOKEN";
const REGION: &str = "eu-central-1";
const EMPTY_ZIP: &str = "UEsFBgAAAAAAAAAAAAAAAAAAAAAAAA==";

const SERVER: &str = "
import os, sys
from moto.server import ThreadedMotoServer
server = ThreadedMotoServer(ip_address='127.0.0.1', port=0, verbose=False)
server.start()
print(server.get_host_and_port()[1], flush=True)
sys.stdin.read()
os._exit(0)
";
