//! Instructions to judge one request by ten entries and by ten thousand.
//! `cargo run --release -p counts --bin rules` has the time.

use counts::rules::{By, Finds, In, Judge};
use gungraun::prelude::*;
use socks_tower::{Pinned, Request};

fn ready(by: By, within: In, finds: Finds, count: u32) -> Judge {
    Judge::new(by, within, finds, count, 1)
}

fn bare() -> Judge {
    Judge::new(By::Networks, In::Rules, Finds::Nothing, 0, 1)
}

#[library_benchmark]
#[bench::without_rules(setup = bare)]
#[bench::networks_in_rules_finds_any_of_10(args = (By::Networks, In::Rules, Finds::Any, 10), setup = ready)]
#[bench::networks_in_rules_finds_last_of_10(args = (By::Networks, In::Rules, Finds::Last, 10), setup = ready)]
#[bench::networks_in_rules_finds_nothing_of_10(args = (By::Networks, In::Rules, Finds::Nothing, 10), setup = ready)]
#[bench::networks_in_rule_finds_any_of_10(args = (By::Networks, In::Rule, Finds::Any, 10), setup = ready)]
#[bench::networks_in_rule_finds_last_of_10(args = (By::Networks, In::Rule, Finds::Last, 10), setup = ready)]
#[bench::networks_in_rule_finds_nothing_of_10(args = (By::Networks, In::Rule, Finds::Nothing, 10), setup = ready)]
#[bench::networks_in_group_finds_any_of_10(args = (By::Networks, In::Group, Finds::Any, 10), setup = ready)]
#[bench::networks_in_group_finds_last_of_10(args = (By::Networks, In::Group, Finds::Last, 10), setup = ready)]
#[bench::networks_in_group_finds_nothing_of_10(args = (By::Networks, In::Group, Finds::Nothing, 10), setup = ready)]
#[bench::networks6_in_rules_finds_any_of_10(args = (By::Networks6, In::Rules, Finds::Any, 10), setup = ready)]
#[bench::networks6_in_rules_finds_last_of_10(args = (By::Networks6, In::Rules, Finds::Last, 10), setup = ready)]
#[bench::networks6_in_rules_finds_nothing_of_10(args = (By::Networks6, In::Rules, Finds::Nothing, 10), setup = ready)]
#[bench::networks6_in_rule_finds_any_of_10(args = (By::Networks6, In::Rule, Finds::Any, 10), setup = ready)]
#[bench::networks6_in_rule_finds_last_of_10(args = (By::Networks6, In::Rule, Finds::Last, 10), setup = ready)]
#[bench::networks6_in_rule_finds_nothing_of_10(args = (By::Networks6, In::Rule, Finds::Nothing, 10), setup = ready)]
#[bench::networks6_in_group_finds_any_of_10(args = (By::Networks6, In::Group, Finds::Any, 10), setup = ready)]
#[bench::networks6_in_group_finds_last_of_10(args = (By::Networks6, In::Group, Finds::Last, 10), setup = ready)]
#[bench::networks6_in_group_finds_nothing_of_10(args = (By::Networks6, In::Group, Finds::Nothing, 10), setup = ready)]
#[bench::domains_in_rules_finds_any_of_10(args = (By::Domains, In::Rules, Finds::Any, 10), setup = ready)]
#[bench::domains_in_rules_finds_last_of_10(args = (By::Domains, In::Rules, Finds::Last, 10), setup = ready)]
#[bench::domains_in_rules_finds_nothing_of_10(args = (By::Domains, In::Rules, Finds::Nothing, 10), setup = ready)]
#[bench::domains_in_rule_finds_any_of_10(args = (By::Domains, In::Rule, Finds::Any, 10), setup = ready)]
#[bench::domains_in_rule_finds_last_of_10(args = (By::Domains, In::Rule, Finds::Last, 10), setup = ready)]
#[bench::domains_in_rule_finds_nothing_of_10(args = (By::Domains, In::Rule, Finds::Nothing, 10), setup = ready)]
#[bench::domains_in_group_finds_any_of_10(args = (By::Domains, In::Group, Finds::Any, 10), setup = ready)]
#[bench::domains_in_group_finds_last_of_10(args = (By::Domains, In::Group, Finds::Last, 10), setup = ready)]
#[bench::domains_in_group_finds_nothing_of_10(args = (By::Domains, In::Group, Finds::Nothing, 10), setup = ready)]
#[bench::identities_in_rules_finds_any_of_10(args = (By::Identities, In::Rules, Finds::Any, 10), setup = ready)]
#[bench::identities_in_rules_finds_last_of_10(args = (By::Identities, In::Rules, Finds::Last, 10), setup = ready)]
#[bench::identities_in_rules_finds_nothing_of_10(args = (By::Identities, In::Rules, Finds::Nothing, 10), setup = ready)]
#[bench::identities_in_rule_finds_any_of_10(args = (By::Identities, In::Rule, Finds::Any, 10), setup = ready)]
#[bench::identities_in_rule_finds_last_of_10(args = (By::Identities, In::Rule, Finds::Last, 10), setup = ready)]
#[bench::identities_in_rule_finds_nothing_of_10(args = (By::Identities, In::Rule, Finds::Nothing, 10), setup = ready)]
#[bench::networks_in_rules_finds_any_of_10000(args = (By::Networks, In::Rules, Finds::Any, 10000), setup = ready)]
#[bench::networks_in_rules_finds_last_of_10000(args = (By::Networks, In::Rules, Finds::Last, 10000), setup = ready)]
#[bench::networks_in_rules_finds_nothing_of_10000(args = (By::Networks, In::Rules, Finds::Nothing, 10000), setup = ready)]
#[bench::networks_in_rule_finds_any_of_10000(args = (By::Networks, In::Rule, Finds::Any, 10000), setup = ready)]
#[bench::networks_in_rule_finds_last_of_10000(args = (By::Networks, In::Rule, Finds::Last, 10000), setup = ready)]
#[bench::networks_in_rule_finds_nothing_of_10000(args = (By::Networks, In::Rule, Finds::Nothing, 10000), setup = ready)]
#[bench::networks_in_group_finds_any_of_10000(args = (By::Networks, In::Group, Finds::Any, 10000), setup = ready)]
#[bench::networks_in_group_finds_last_of_10000(args = (By::Networks, In::Group, Finds::Last, 10000), setup = ready)]
#[bench::networks_in_group_finds_nothing_of_10000(args = (By::Networks, In::Group, Finds::Nothing, 10000), setup = ready)]
#[bench::networks6_in_rules_finds_any_of_10000(args = (By::Networks6, In::Rules, Finds::Any, 10000), setup = ready)]
#[bench::networks6_in_rules_finds_last_of_10000(args = (By::Networks6, In::Rules, Finds::Last, 10000), setup = ready)]
#[bench::networks6_in_rules_finds_nothing_of_10000(args = (By::Networks6, In::Rules, Finds::Nothing, 10000), setup = ready)]
#[bench::networks6_in_rule_finds_any_of_10000(args = (By::Networks6, In::Rule, Finds::Any, 10000), setup = ready)]
#[bench::networks6_in_rule_finds_last_of_10000(args = (By::Networks6, In::Rule, Finds::Last, 10000), setup = ready)]
#[bench::networks6_in_rule_finds_nothing_of_10000(args = (By::Networks6, In::Rule, Finds::Nothing, 10000), setup = ready)]
#[bench::networks6_in_group_finds_any_of_10000(args = (By::Networks6, In::Group, Finds::Any, 10000), setup = ready)]
#[bench::networks6_in_group_finds_last_of_10000(args = (By::Networks6, In::Group, Finds::Last, 10000), setup = ready)]
#[bench::networks6_in_group_finds_nothing_of_10000(args = (By::Networks6, In::Group, Finds::Nothing, 10000), setup = ready)]
#[bench::domains_in_rules_finds_any_of_10000(args = (By::Domains, In::Rules, Finds::Any, 10000), setup = ready)]
#[bench::domains_in_rules_finds_last_of_10000(args = (By::Domains, In::Rules, Finds::Last, 10000), setup = ready)]
#[bench::domains_in_rules_finds_nothing_of_10000(args = (By::Domains, In::Rules, Finds::Nothing, 10000), setup = ready)]
#[bench::domains_in_rule_finds_any_of_10000(args = (By::Domains, In::Rule, Finds::Any, 10000), setup = ready)]
#[bench::domains_in_rule_finds_last_of_10000(args = (By::Domains, In::Rule, Finds::Last, 10000), setup = ready)]
#[bench::domains_in_rule_finds_nothing_of_10000(args = (By::Domains, In::Rule, Finds::Nothing, 10000), setup = ready)]
#[bench::domains_in_group_finds_any_of_10000(args = (By::Domains, In::Group, Finds::Any, 10000), setup = ready)]
#[bench::domains_in_group_finds_last_of_10000(args = (By::Domains, In::Group, Finds::Last, 10000), setup = ready)]
#[bench::domains_in_group_finds_nothing_of_10000(args = (By::Domains, In::Group, Finds::Nothing, 10000), setup = ready)]
#[bench::identities_in_rules_finds_any_of_10000(args = (By::Identities, In::Rules, Finds::Any, 10000), setup = ready)]
#[bench::identities_in_rules_finds_last_of_10000(args = (By::Identities, In::Rules, Finds::Last, 10000), setup = ready)]
#[bench::identities_in_rules_finds_nothing_of_10000(args = (By::Identities, In::Rules, Finds::Nothing, 10000), setup = ready)]
#[bench::identities_in_rule_finds_any_of_10000(args = (By::Identities, In::Rule, Finds::Any, 10000), setup = ready)]
#[bench::identities_in_rule_finds_last_of_10000(args = (By::Identities, In::Rule, Finds::Last, 10000), setup = ready)]
#[bench::identities_in_rule_finds_nothing_of_10000(args = (By::Identities, In::Rule, Finds::Nothing, 10000), setup = ready)]
fn judge(mut judge: Judge) -> (Judge, Option<Request<Pinned>>) {
    let judged = judge.one();
    (judge, judged)
}

library_benchmark_group!(name = rules, benchmarks = [judge]);

main!(library_benchmark_groups = rules);
