//! How long one request outside the measured rows may take.

use std::time::Duration;

use tokio::time::timeout;

/// Longest time that one request outside a measured row may take.
const ASK_PATIENCE: Duration = Duration::from_secs(10);

/// The request's outcome, or an error after ten seconds.
pub(crate) async fn patiently<T>(
    request: impl Future<Output = anyhow::Result<T>>,
) -> anyhow::Result<T> {
    let answer = timeout(ASK_PATIENCE, request).await;
    answer.unwrap_or_else(|_| Err(anyhow::anyhow!("no answer within 10 s")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn patience_ends() {
        let error = patiently(std::future::pending::<anyhow::Result<()>>()).await.unwrap_err();
        assert_eq!(error.to_string(), "no answer within 10 s");
        assert_eq!(patiently(async { Ok(7) }).await.unwrap(), 7);
    }
}
