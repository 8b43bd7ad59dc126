use std::{future::Future, sync::Arc, time::Duration};

use redis::{Cmd, FromRedisValue, Pipeline, RedisResult, Value, from_redis_value};
use tokio::time::timeout;

use super::{
    Script, Unanswered,
    health::{Connection, Health},
};

/// A connection to Redis, for one question or many.
#[derive(Clone)]
pub(crate) struct Line {
    pub(super) connection: Connection,
    pub(super) health: Arc<Health>,
    pub(super) deadline: Duration,
}

impl Line {
    /// As it is, with another deadline for each question.
    #[must_use]
    pub(crate) fn within(mut self, deadline: Duration) -> Self {
        self.deadline = deadline;
        self
    }

    /// One round trip, until the deadline. Dropping it loses nothing but the answer.
    pub(crate) async fn ask<T: FromRedisValue>(&self, question: &Cmd) -> Result<T, Unanswered> {
        let mut connection = self.connection.inner.clone();
        self.put(async move {
            connection
                .send_packed_command(question)
                .await?
                .extract_error()
        })
        .await
    }

    /// As [`ask`](Self::ask), many at once. If one of them fails, all did.
    pub(crate) async fn ask_all<T: FromRedisValue>(
        &self,
        questions: &Pipeline,
    ) -> Result<T, Unanswered> {
        let mut connection = self.connection.inner.clone();
        self.put(async move { questions.query_async(&mut connection).await })
            .await
    }

    /// Asks what [`Script::call`] has made. It is two round trips if Redis does not know
    /// the script, which it does from then on.
    pub(crate) async fn run<T: FromRedisValue>(
        &self,
        script: &Script,
        call: &Cmd,
    ) -> Result<T, Unanswered> {
        let mut connection = self.connection.inner.clone();
        self.put(async move {
            let answer = connection.send_packed_command(call).await?;
            match answer.extract_error() {
                Err(error) if error.code() == Some("NOSCRIPT") => {
                    let mut both = redis::pipe();
                    both.add_command(script.load()).ignore();
                    both.add_command(call.clone());
                    let (answer,) = both.query_async(&mut connection).await?;
                    Ok(answer)
                }
                answer => answer,
            }
        })
        .await
    }

    async fn put<T: FromRedisValue>(
        &self,
        question: impl Future<Output = RedisResult<Value>>,
    ) -> Result<T, Unanswered> {
        self.health.count_question();
        let answer = match timeout(self.deadline, question).await {
            Ok(Ok(value)) => {
                from_redis_value(value).map_err(|error| Unanswered::Wrong(error.to_string()))
            }
            Ok(Err(error)) => Err(error.into()),
            Err(_) => Err(Unanswered::Late(self.deadline)),
        };
        answer.inspect_err(|why| self.health.unanswered(self.connection.id, why))
    }
}
