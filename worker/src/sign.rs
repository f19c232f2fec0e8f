//! What this worker's key signs: a challenge that names it, and its own outcomes. Nothing else. Pure.

use millrace_proto::{
    LeaseId,
    identity::Secret,
    outcome::{self, Outcome},
};

use crate::agent::Fault;

const CHALLENGE_BYTES_MAX: usize = 4_096;

/// Signs a challenge, unless it is something else in disguise: a text without this worker's name, or one
/// that would later pass for an outcome.
pub fn challenge(secret: &Secret, text: &str) -> Result<String, Fault> {
    let ours = text.to_ascii_lowercase().contains(&secret.address().to_string());
    let outcome = text.trim_start().to_ascii_lowercase().starts_with("millrace outcome");
    if text.len() > CHALLENGE_BYTES_MAX || !ours || outcome {
        return Err(Fault::Strange("the orchestrator's challenge is no text for this worker to sign".into()));
    }
    Ok(secret.sign(text))
}

/// Signs an outcome.
pub fn outcome(secret: &Secret, lease: &LeaseId, result: outcome::Result) -> Outcome {
    let signature = secret.sign(&Outcome::message(lease, &result));
    Outcome { result, signature }
}

#[cfg(test)]
mod tests {
    use millrace_proto::identity::signer;

    use super::*;
    use crate::agent::testing;

    #[test]
    fn only_a_fair_challenge_is_signed() {
        let secret = Secret::generate();
        let address = secret.address();
        let text = format!("millrace challenge 1\nhttps://example.test\n{address}\n0123");
        assert_eq!(signer(&text, &challenge(&secret, &text).unwrap()), Ok(address));
        let disguised = format!("millrace outcome 1\nl-1\n720p {address}");
        let endless = format!("{address}{}", " ".repeat(CHALLENGE_BYTES_MAX));
        for bad in ["millrace challenge 1", "", &disguised, &endless] {
            assert!(challenge(&secret, bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn an_outcome_can_be_told_to_be_ours() {
        let secret = Secret::generate();
        let lease = "l-1".parse().unwrap();
        let outcome = outcome(&secret, &lease, outcome::Result::Done(testing::done()));
        let message = Outcome::message(&lease, &outcome.result);
        assert_eq!(signer(&message, &outcome.signature), Ok(secret.address()));
    }
}
