//! Who has a turn.

use futures_util::future::FutureExt as _;
use futures_util::stream::{FuturesUnordered, StreamExt as _};

use super::*;

fn line(party: usize, place: usize) -> Line {
    Line {
        parties: vec![party],
        place,
    }
}

/// So many calls in each line at once: which of them have a turn, by party, and those that wait.
fn first_turns(turns: &Turns, calls: &[(Line, usize)]) -> (Vec<usize>, Vec<Result<(), Hanging>>) {
    let mut taken = Vec::new();
    let mut refused = Vec::new();
    let all = calls
        .iter()
        .flat_map(|(line, count)| vec![line.clone(); *count]);
    let mut waiting: FuturesUnordered<Take<'_>> = all.map(|line| turns.take(line)).collect();
    // Once to stand in line, and until nobody has a turn any more.
    for _ in 0..10 * waiting.len().max(1) {
        if let Some(Some(turn)) = waiting.next().now_or_never() {
            match turn {
                Ok(turn) => taken.push(turn),
                Err(hanging) => refused.push(Err(hanging)),
            }
        }
    }
    let parties = calls.iter().map(|(line, _)| line.parties[0]);
    let count = |party: usize| taken.iter().filter(|turn| turn.party == party).count();
    (parties.map(count).collect(), refused)
}

fn check(turns: &Turns, calls: &[(Line, usize)], expected: &[usize]) {
    let (found, refused) = first_turns(turns, calls);
    assert_eq!(found, expected);
    assert_eq!(refused, []);
    // All are given back, also those of calls that gave up.
    let state = turns.0.borrow();
    assert_eq!(state.free, state.most);
    assert!(state.waiting.is_empty());
    assert!(state.parties.iter().all(|share| share.wanted() == 0));
}

#[test]
fn turns_are_shared_by_those_who_wait() {
    let turns = Turns::new(8);
    // Alone: all of them.
    check(&turns, &[(line(0, 0), 100)], &[8]);
    check(&turns, &[(line(0, 0), 100), (line(1, 0), 100)], &[4, 4]);
    check(&turns, &[(line(0, 0), 100), (line(1, 0), 1)], &[7, 1]);
    let three = [(line(0, 0), 100), (line(1, 0), 2), (line(2, 0), 100)];
    check(&turns, &three, &[3, 2, 3]);
}

#[test]
fn turns_are_kept_for_who_is_announced() {
    let turns = Turns::new(8);
    turns.expect(&line(1, 0));
    // One of them.
    check_first(&turns, 7);
    for _ in 0..100 {
        turns.expect(&line(1, 0));
    }
    // At most half.
    check_first(&turns, 4);
    for _ in 0..101 {
        turns.rest(&line(1, 0));
    }
    check_first(&turns, 8);
}

/// How many turns the first party has where it wants a hundred.
fn check_first(turns: &Turns, expected: usize) {
    let (found, _) = first_turns(turns, &[(line(0, 0), 100)]);
    assert_eq!(found, [expected]);
}

#[test]
fn a_place_takes_no_turns_of_another() {
    let turns = Turns::at_places(8, 4);
    check(&turns, &[(line(0, 0), 100)], &[4]);
    let two = [(line(0, 0), 100), (line(1, 1), 100)];
    check(&turns, &two, &[4, 4]);
    // One party in both.
    let (found, _) = first_turns(&turns, &[(line(0, 0), 100), (line(0, 1), 100)]);
    assert_eq!(found[0], 8);
}

#[tokio::test]
async fn a_call_of_several_has_the_turn_of_the_first() {
    let turns = Turns::new(2);
    let _held = turns.take(line(0, 0)).await.unwrap();
    let both = Line {
        parties: vec![0, 1],
        place: 0,
    };
    let turn = turns.take(both).await.unwrap();
    assert_eq!(turn.party, 1);
}

#[tokio::test]
async fn a_call_that_hung_with_no_answer_meanwhile_leaves_the_others_out() {
    let turns = Turns::new(2);
    let wait = |party: usize| turns.take(line(party, 0));
    let hung = |result: &Result<Turn<'_>, Hanging>| result.is_err();
    // Somebody else was answered meanwhile: the server answers, but not that party.
    let (first, other) = (wait(0).await.unwrap(), wait(1).await.unwrap());
    other.answered();
    first.hung();
    drop((first, other));
    assert!(hung(&wait(0).await));
    assert!(!hung(&wait(1).await));
    // Nobody was: it answers nobody.
    let turns = Turns::new(2);
    let wait = |party: usize| turns.take(line(party, 0));
    let (first, other) = (wait(0).await.unwrap(), wait(1).await.unwrap());
    first.hung();
    drop(first);
    assert!(hung(&wait(1).await));
    // A later answer takes it back.
    other.answered();
    drop(other);
    assert!(!hung(&wait(1).await));
    // One that hangs among others of the same party that are answered is alone.
    let turns = Turns::new(2);
    let wait = || turns.take(line(0, 0));
    let (first, second) = (wait().await.unwrap(), wait().await.unwrap());
    second.answered();
    first.hung();
    drop((first, second));
    assert!(!hung(&wait().await));
}

/// Calls of random parties to random places that end in random order, some of them given up while they wait: each that waits on has
/// a turn, and no bound is ever passed.
#[test]
fn every_call_that_waits_has_its_turn_within_the_bounds() {
    for seed in 0..50_u64 {
        let mut random = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
        let mut below = move |most: usize| {
            random ^= random << 13;
            random ^= random >> 7;
            random ^= random << 17;
            usize::try_from(random >> 33).unwrap() % most
        };
        let (most, most_at_place) = (1 + below(8), 1 + below(8));
        let turns = Turns::at_places(most, most_at_place);
        let count = 200;
        let lines: Vec<Line> = (0..count)
            .map(|_| Line {
                parties: (0..=below(2)).map(|_| below(6)).collect(),
                place: below(3),
            })
            .collect();
        for line in &lines {
            turns.expect(line);
        }
        let mut waiting: Vec<(Take<'_>, &Line)> = lines
            .iter()
            .map(|line| (turns.take(line.clone()), line))
            .collect();
        let mut held: Vec<(Turn<'_>, &Line)> = Vec::new();
        let mut served = 0;
        let mut given_up = 0;
        for _ in 0..100_000 {
            if waiting.is_empty() && held.is_empty() {
                break;
            }
            if !waiting.is_empty() {
                let index = below(waiting.len());
                let taken = (&mut waiting[index].0).now_or_never();
                if let Some(Ok(turn)) = taken {
                    held.push((turn, waiting.swap_remove(index).1));
                    served += 1;
                } else if below(500) == 0 {
                    turns.rest(waiting.swap_remove(index).1);
                    given_up += 1;
                }
            }
            let at = |place: usize| held.iter().filter(|(turn, _)| turn.place == place).count();
            assert!(held.len() <= most && (0..3).all(|place| at(place) <= most_at_place));
            if !held.is_empty() && below(3) == 0 {
                let (turn, line) = held.swap_remove(below(held.len()));
                drop(turn);
                turns.rest(line);
            }
        }
        assert_eq!(served + given_up, count, "{seed}");
        let state = turns.0.borrow();
        assert_eq!((state.free, state.waiting.len()), (most, 0), "{seed}");
        let shares = state.parties.iter();
        assert!(shares.clone().all(|share| share.wanted() == 0), "{seed}");
    }
}
