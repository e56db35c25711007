//! Users come and go, get roles and lose them, and meanwhile read and write what they may and may not.

use rand::{Rng, seq::IndexedRandom};

use super::{Generator, RESTART_EVERY};
use crate::{
    admin::{ROLES, USERS},
    op::{End, Guise, KEYS, Key, Op},
};

const ROOT: u8 = 0;
const RIGHT: u8 = 0;

/// root, two users with a role each, and everybody asked who they are.
pub(super) fn beginning() -> Vec<Op> {
    let add = |user| Op::UserAdd { user, password: RIGHT, no_password: false };
    let mut ops = vec![add(ROOT), Op::UserGrant { user: ROOT, role: ROOT }, add(1), add(2)];
    ops.extend((1..4).map(|role| Op::RoleAdd { role }));
    ops.push(Op::RoleGrant { role: 1, kind: 0, key: Key::K(1), end: End::Prefix });
    ops.push(Op::RoleGrant { role: 2, kind: 1, key: Key::K(1), end: End::Prefix });
    ops.push(Op::RoleGrant { role: 3, kind: 2, key: Key::K(10), end: end_of(10) });
    ops.extend([Op::UserGrant { user: 1, role: 1 }, Op::UserGrant { user: 2, role: 2 }, Op::AuthEnable]);
    ops.extend((0..3).map(|user| Op::Login { user, password: RIGHT }));
    ops.push(Op::As(Guise::U(ROOT)));
    ops
}

/// Each key has one end: etcd overlooks a permission behind another of the same key, which is a listed difference.
fn end_of(key: u8) -> End {
    match key % 4 {
        0 => End::One,
        1 => End::Prefix,
        2 => End::FromKey,
        _ => End::To(Key::K(key.saturating_add(4).min(KEYS.len() as u8 - 1))),
    }
}

impl Generator {
    pub(super) fn step_with_users(&mut self) {
        if self.rng.random_ratio(1, RESTART_EVERY) {
            self.push(Op::Restart);
            self.push(Op::Login { user: ROOT, password: RIGHT });
        }
        match self.rng.random_range(0..100) {
            0..8 => self.turn(),
            8..22 => self.change(),
            22..26 => self.login(),
            26..42 => self.range_op(),
            42..58 => self.put_op(),
            58..66 => self.delete_op(),
            66..82 => self.txn_op(),
            82..96 => self.lease_op(),
            _ => self.guarded_op(),
        }
    }

    fn user(&mut self) -> u8 {
        self.rng.random_range(0..USERS.len() as u8)
    }

    /// Seldom root's: with that nothing is refused.
    fn role(&mut self) -> u8 {
        if self.chance(8) { ROOT } else { self.rng.random_range(1..ROLES.len() as u8) }
    }

    fn turn(&mut self) {
        let guise = match self.rng.random_range(0..20) {
            0 => Guise::Nobody,
            1 => Guise::Forged,
            2..8 => Guise::U(ROOT),
            _ => Guise::U(self.rng.random_range(1..4)),
        };
        if let Guise::U(user) = guise
            && self.chance(40)
        {
            self.push(Op::Login { user, password: RIGHT });
        }
        self.push(Op::As(guise));
    }

    fn login(&mut self) {
        let password = if self.chance(85) { RIGHT } else { self.rng.random_range(0..3) };
        let user = self.user();
        self.push(Op::Login { user, password });
    }

    /// Mostly by root, so that it happens.
    fn change(&mut self) {
        let by_root = self.chance(70);
        if by_root {
            self.push(Op::As(Guise::U(ROOT)));
        }
        let (user, role) = (self.user(), self.role());
        let key = self.rng.random_range(0..KEYS.len() as u8);
        let op = match self.rng.random_range(0..100) {
            0..3 => Op::AuthDisable,
            3..8 => Op::AuthEnable,
            8..12 => Op::AuthStatus,
            12..24 => Op::UserAdd { user, password: RIGHT, no_password: self.chance(15) },
            24..28 => Op::UserGet { user },
            28..31 => Op::UserList,
            31..35 => Op::UserDelete { user },
            35..41 => Op::UserPassword { user, password: if user == ROOT || self.chance(80) { RIGHT } else { 1 } },
            41..55 => Op::UserGrant { user, role },
            55..60 => Op::UserRevoke { user, role },
            60..68 => Op::RoleAdd { role },
            68..72 => Op::RoleGet { role },
            72..75 => Op::RoleList,
            75..77 => Op::RoleDelete { role },
            77..92 => {
                let kind = self.rng.random_range(0..3);
                // Some are no ranges.
                let end = if self.chance(95) { end_of(key) } else { End::To(Key::K(0)) };
                Op::RoleGrant { role, kind, key: Key::K(key), end }
            }
            92..93 => Op::RoleGrantNothing { role },
            _ => Op::RoleRevoke { role, key: Key::K(key), end: end_of(key) },
        };
        let (disabled, changed) = (op == Op::AuthDisable, matches!(op, Op::UserPassword { .. } | Op::UserAdd { .. }));
        self.push(op);
        if disabled {
            // Tokens from before are void.
            self.push(Op::AuthEnable);
            (0..4).for_each(|user| self.push(Op::Login { user, password: RIGHT }));
        }
        if changed && self.chance(80) {
            self.push(Op::Login { user, password: RIGHT });
        }
        if by_root {
            self.turn();
        }
    }

    /// What is for root, or for users.
    fn guarded_op(&mut self) {
        let linearizable = self.chance(50);
        let rev = self.rev();
        let choices = [
            Op::MemberList { linearizable },
            Op::Status,
            Op::Hash,
            Op::HashKV { rev },
            Op::Alarm { action: 0, who: crate::op::Who::Everyone, alarm: 0 },
            Op::Alarm { action: 2, who: crate::op::Who::Own, alarm: 1 },
            Op::Compact { rev: crate::op::Rev::Head(-30), physical: false },
            Op::Defragment,
        ];
        let op = choices.choose(&mut self.rng).expect("not empty").clone();
        self.push(op);
    }
}
