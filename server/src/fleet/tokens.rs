//! Join tokens: made, looked through, used once.

use super::{effects::Effects, records::TokenRecord, refusal::Refusal, state::State};
use crate::store::Keyspace;
use handover_identity::{TokenClaim, TokenId, secret_matches};
use handover_model::{Digest, Duration, HostName, Timestamp};

/// How long a token is good where nothing is said.
const DEFAULT_LIFE: Duration = Duration::from_secs(3600);
/// How long a token may be good.
const LONGEST_LIFE: Duration = Duration::from_secs(30 * 24 * 3600);
/// How many tokens are kept at once, used and expired ones too.
const MAX_TOKENS: usize = 10_000;
/// How long a token that is used or expired is still listed.
const REMEMBERED: Duration = Duration::from_secs(30 * 24 * 3600);

impl State {
    /// Remembers a new token of which only the hash is known here.
    ///
    /// # Errors
    /// When there are too many, or it would live too long.
    pub fn create_token(
        &mut self,
        id: TokenId,
        secret: Digest,
        host: Option<HostName>,
        life: Duration,
        now: Timestamp,
        effects: &mut Effects,
    ) -> Result<TokenRecord, Refusal> {
        if life > LONGEST_LIFE {
            return Err(Refusal::Invalid("a token lives at most 30 days".into()));
        }
        let old: Vec<TokenId> = self
            .tokens
            .iter()
            .filter(|(_, token)| now.since(token.expires) > REMEMBERED)
            .map(|(id, _)| *id)
            .collect();
        for id in old {
            self.tokens.remove(&id);
            effects.delete(Keyspace::Tokens, id.to_string().into_bytes());
        }
        if self.tokens.len() >= MAX_TOKENS {
            return Err(Refusal::TooMany(format!(
                "there are {MAX_TOKENS} join tokens already: revoke those that nobody needs"
            )));
        }
        let life = if life.is_zero() { DEFAULT_LIFE } else { life };
        let token = TokenRecord { secret, host, created: now, expires: now + life, used_by: None };
        effects.put(Keyspace::Tokens, id.to_string().into_bytes(), &token)?;
        self.tokens.insert(id, token.clone());
        Ok(token)
    }

    /// Every token, by id.
    pub fn tokens(&self) -> impl Iterator<Item = (&TokenId, &TokenRecord)> {
        self.tokens.iter()
    }

    /// Forgets a token: it enrols nobody any more.
    ///
    /// # Errors
    /// When there is none of that id.
    pub fn revoke_token(&mut self, id: TokenId, effects: &mut Effects) -> Result<(), Refusal> {
        if self.tokens.remove(&id).is_none() {
            return Err(Refusal::NoToken(id));
        }
        effects.delete(Keyspace::Tokens, id.to_string().into_bytes());
        Ok(())
    }

    /// The id of the claimed token, if it may enrol `host` now.
    ///
    /// # Errors
    /// Each thing that can be wrong with a token.
    pub(super) fn usable_token(
        &self,
        claim: &TokenClaim,
        host: &HostName,
        now: Timestamp,
    ) -> Result<TokenId, Refusal> {
        let token = self.tokens.get(&claim.id).ok_or(Refusal::TokenUnknown)?;
        // Before anything else is said of it: who has no proof learns nothing.
        if !secret_matches(&token.secret, &claim.secret) {
            return Err(Refusal::TokenUnknown);
        }
        if let Some(user) = &token.used_by {
            return Err(Refusal::TokenUsed(user.clone()));
        }
        if now >= token.expires {
            return Err(Refusal::TokenExpired);
        }
        match &token.host {
            Some(only) if only != host => Err(Refusal::TokenOtherHost(only.clone())),
            _ => Ok(claim.id),
        }
    }
}
