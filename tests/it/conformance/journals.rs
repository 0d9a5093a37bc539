//! What every place of a journal must do: conditional create above all.

use std::sync::Arc;

use jiff::Timestamp;
use lakekey_core::config::{ObjectPlace, StateLocation};
use lakekey_core::ids::{CredentialName, RunnerId};
use lakekey_core::journal::{self, Journal, JournalError, names};
use lakekey_core::random::Random;
use lakekey_core::storage::Storage;
use lakekey_parts::Moto;
use object_store::ObjectStore;
use serde::{Deserialize, Serialize};

use crate::parts::azure::InAzure;
use crate::parts::places;

/// Something to record.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Fact(String);

async fn open(store: &Arc<dyn ObjectStore>) -> (Journal<Fact>, Vec<Fact>) {
    let mut read = Vec::new();
    let journal = Journal::open(Arc::clone(store), NAME, None, |entry| read.push(entry.event)).await.unwrap();
    (journal, read)
}

async fn append(journal: &mut Journal<Fact>, text: &str) -> Result<(), JournalError> {
    let (random, by) = (Random::system(), RunnerId::new("one"));
    journal.append(&random, Timestamp::UNIX_EPOCH, &by, Fact(text.to_owned())).await.map(drop)
}

async fn is_a_place_for_journals(store: &Arc<dyn ObjectStore>) {
    let (mut one, read) = open(store).await;
    assert!(read.is_empty() && journal::list(&**store).await.unwrap().is_empty());
    let (mut two, _) = open(store).await;

    append(&mut one, "first").await.unwrap();
    assert!(matches!(append(&mut two, "first, too").await, Err(JournalError::Lost { seq: 1 })));
    assert_eq!(two.refresh().await.unwrap().len(), 1);
    append(&mut two, "second").await.unwrap();
    assert!(matches!(append(&mut one, "second, too").await, Err(JournalError::Lost { seq: 2 })));
    one.refresh().await.unwrap();
    one.confirm(2).await.unwrap();

    // More than one page of a listing could hold at once, and an entry of some size.
    for number in 3..=40 {
        append(&mut one, &number.to_string()).await.unwrap();
    }
    append(&mut one, &"x".repeat(3 << 20)).await.unwrap();
    assert_eq!(two.refresh().await.unwrap().len(), 39);
    let (whole, read) = open(store).await;
    assert_eq!((whole.len(), &read[1], read[40].0.len()), (41, &Fact("second".to_owned()), 3 << 20));
    assert_eq!(whole.head(), one.head());

    let credential = CredentialName::new("sales-bi");
    names::remember(&**store, &credential, NAME).await.unwrap();
    names::remember(&**store, &credential, NAME).await.unwrap();
    assert_eq!(names::journals_of(&**store, &credential).await.unwrap(), [NAME]);
    assert_eq!(journal::list(&**store).await.unwrap(), [NAME]);
}

/// Of many who append at once, one is first at each place, and nobody's entry is lost.
async fn lets_one_of_many_win(store: &Arc<dyn ObjectStore>) {
    let appends = (0..8).map(|number| async move {
        let (mut journal, _) = open(store).await;
        let mut lost = 0;
        while let Err(error) = append(&mut journal, &format!("by {number}")).await {
            assert!(matches!(error, JournalError::Lost { .. }), "{error:?}");
            journal.refresh().await.unwrap();
            lost += 1;
        }
        lost
    });
    let lost: Vec<u32> = futures::future::join_all(appends).await;
    let (_, read) = open(store).await;
    assert_eq!(read.len(), 8, "{read:?}");
    assert!(lost.iter().sum::<u32>() > 0, "nobody met anybody");
}

async fn state(environment: &[(String, String)], place: &str) -> Arc<dyn ObjectStore> {
    let location = StateLocation::Objects(ObjectPlace::parse(place).unwrap());
    places(environment).open_state(&location).await.unwrap()
}

#[tokio::test]
async fn a_folder_is_a_place_for_journals() {
    let folder = tempfile::tempdir().unwrap();
    let open = async |part: &str| {
        let location = StateLocation::File(folder.path().join(part));
        places(&[]).open_state(&location).await.unwrap()
    };
    is_a_place_for_journals(&open("one").await).await;
    lets_one_of_many_win(&open("two").await).await;
}

#[tokio::test]
async fn a_bucket_on_s3_is_a_place_for_journals() {
    let moto = Moto::shared();
    let bucket = moto.bucket().await.unwrap();
    is_a_place_for_journals(&state(&moto.environment(), &format!("s3://{bucket}/team a/lakekey")).await).await;
    lets_one_of_many_win(&state(&moto.environment(), &format!("s3://{bucket}")).await).await;
}

#[tokio::test]
async fn a_container_of_blob_storage_is_a_place_for_journals() {
    let azure = InAzure::open().await;
    let open = async |place: String| {
        let location = StateLocation::Objects(ObjectPlace::parse(&place).unwrap());
        azure.places().open_state(&location).await.unwrap()
    };
    is_a_place_for_journals(&open(azure.state("one", "team a/lakekey").await).await).await;
    lets_one_of_many_win(&open(azure.state("two", "").await).await).await;
}

const NAME: &str = "2c8e0f3a-0000-4000-8000-000000000001";
