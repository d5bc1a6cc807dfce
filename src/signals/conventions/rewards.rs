//! The conventions of training by rewards, and of networks that play against each other.

use super::*;

#[test]
fn reinforcement_learning_is_judged_by_its_reward() {
    for reward in [
        "rollout/ep_rew_mean",
        "ray/tune/episode_reward_mean",
        "ray/tune/env_runners/episode_return_mean",
        "Environment/Cumulative Reward",
        "charts/episodic_return",
        "Train/mean_reward",
        "train/reward",
        "rewards/step",
        "Reward / Total reward (mean)",
        "Train/AverageReturns",
        "episode/score",
        "eval/mean_reward",
        "reward/train",
    ] {
        let tags = format!("{reward}\ntrain/loss\nlosses/value_loss\nentropy_loss\nray/tune/episode_reward_max");
        check(reward, &tags, Learning::Reinforcement, &[&format!("reward = {reward}")]);
    }
    check("no reward is logged", "loss\ntrain/approx_kl\nlr", Learning::Reinforcement, &["learning_rate = lr"]);
}

#[test]
fn self_play_is_not_judged_by_its_reward() {
    let tags = "Environment/Cumulative Reward *51\nSelf-play/ELO *51\nLosses/Value Loss";
    check("self-play", tags, Learning::Adversarial, &["reward = Self-play/ELO"]);
}

#[test]
fn adversarial_losses_are_not_judged() {
    for (d, g) in [
        ("d_loss", "g_loss"),
        ("Loss/discriminator", "Loss/generator"),
        ("loss_D", "loss_G"),
        ("lossD", "lossG"),
        ("D/loss", "G/loss"),
        ("Loss/D", "Loss/G"),
        ("errD", "errG"),
        ("train/disc_loss", "train/gen_loss"),
        ("critic_loss", "generator_loss"),
        ("loss/d/total", "loss/g/total"),
        ("Discriminator Loss", "Generator Loss"),
        ("DLoss", "GLoss"),
        ("D_real", "G_GAN"),
    ] {
        let tags = format!("{d}\n{g}\nloss\nval_loss\nlr");
        check(d, &tags, Learning::Adversarial, &["learning_rate = lr"]);
    }
    supervised("a generator alone", "generator_loss\nloss", &["train_loss = loss"]);
}
