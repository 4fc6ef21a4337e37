//! Thresholds: how many results in a row it takes to change a check's verdict.

use crate::model::CheckStatus;

use super::super::disk::Verdict;
use super::super::spec::CheckSpec;

/// Results in a row. It begins full, so that the first result counts at once.
#[derive(Debug)]
pub(super) struct Streak {
    good: u32,
    bad: u32,
    good_needed: u32,
    bad_to_warn: u32,
    bad_needed: u32,
}

impl Streak {
    /// As the check's owner wants it.
    pub(super) fn new(spec: &CheckSpec) -> Self {
        let (good, bad) = (spec.success_before_passing, spec.failures_before_critical);
        let bad_to_warn = match spec.failures_before_warning {
            0 => bad,
            own => own,
        };
        Self { good, bad, good_needed: good, bad_to_warn, bad_needed: bad }
    }

    /// What the check's verdict is after this result, if it counts already.
    ///
    /// Source: Consul, "FailuresBeforeWarning".
    pub(super) fn judge(&mut self, result: Verdict) -> Option<Verdict> {
        match result.status {
            CheckStatus::Passing | CheckStatus::Warning => {
                (self.good, self.bad) = (self.good.saturating_add(1), 0);
                (self.good >= self.good_needed).then_some(result)
            }
            CheckStatus::Critical | CheckStatus::Other(_) => {
                (self.good, self.bad) = (0, self.bad.saturating_add(1));
                if self.bad >= self.bad_needed {
                    Some(result)
                } else if self.bad >= self.bad_to_warn {
                    Some(Verdict { status: CheckStatus::Warning, ..result })
                } else {
                    None
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn results_count_once_there_are_enough_in_a_row() {
        // Results in a row, and what each makes of the check: p passes, w warns, c is critical,
        // a dot changes nothing.
        for (success, warning, failures, results, verdicts) in [
            (0, 0, 0, "pwcpc", "pwcpc"),
            (1, 0, 1, "pwcpc", "pwcpc"),
            (2, 0, 3, "ppccppcccp", "pp...p..c."),
            (2, 0, 3, "cccpwcpwccc", "ccc.w..w..c"),
            (3, 0, 0, "pccppppw", "pcc..ppw"),
            (0, 1, 3, "pcccc", "pwwcc"),
            (0, 2, 4, "cpccccp", "cp.wwcp"),
        ] {
            let spec = CheckSpec {
                success_before_passing: success,
                failures_before_warning: warning,
                failures_before_critical: failures,
                ..CheckSpec::default()
            };
            let mut streak = Streak::new(&spec);
            let mut seen = String::new();
            for sign in results.chars() {
                let status = match sign {
                    'p' => CheckStatus::Passing,
                    'w' => CheckStatus::Warning,
                    _ => CheckStatus::Critical,
                };
                let verdict = streak.judge(Verdict { status, output: String::new() });
                seen.push(verdict.map_or('.', |verdict| match verdict.status {
                    CheckStatus::Passing => 'p',
                    CheckStatus::Warning => 'w',
                    CheckStatus::Critical | CheckStatus::Other(_) => 'c',
                }));
            }
            assert_eq!(seen, verdicts, "{results}");
        }
    }
}
