//! One row a naming convention: the tags that a framework writes, and what must be read from them.

mod rewards;

use super::{Learning, Signal, SignalMap, SignalRules, SiteRule, TagInfo, TagKind};

/// Reads a job from its tags, one a line: `folder|tag`, with ` *7` for seven points (else 100) and ` #` for a histogram.
fn read(rules: &SignalRules, tags: &str) -> SignalMap {
    let infos = tags.lines().map(str::trim).filter(|line| !line.is_empty()).map(|line| {
        let (line, kind) = line.strip_suffix(" #").map_or((line, TagKind::Scalar), |rest| (rest, TagKind::Histogram));
        let (line, points) = line.rsplit_once(" *").map_or((line, 100), |(rest, n)| (rest, n.parse().expect("points")));
        let (folder, tag) = line.split_once('|').unwrap_or((".", line));
        TagInfo { folder, tag, points, kind }
    });
    rules.assign(&infos.collect::<Vec<_>>())
}

/// The best series of each signal as text; `?` marks a guess. Parts of a loss are left out.
fn shown(map: &SignalMap) -> Vec<String> {
    let signals = Signal::ALL.into_iter().filter(|signal| *signal != Signal::PartOfLoss);
    let best = signals.filter_map(|signal| Some((signal, map.get(signal)?)));
    let show = |(signal, m): (Signal, &super::Matched)| {
        let mark = if m.sure { "" } else { "?" };
        let folder = if m.folder.is_empty() { String::new() } else { format!("{}|", m.folder) };
        format!("{signal}{mark} = {folder}{}", m.tag)
    };
    best.map(show).collect()
}

fn layers(map: &SignalMap, signal: Signal) -> Vec<&str> {
    map.all(signal).iter().map(|m| m.layer.as_deref().expect("a layer")).collect()
}

#[track_caller]
fn check(convention: &str, tags: &str, learning: Learning, expected: &[&str]) {
    let map = read(&SignalRules::default(), tags);
    assert_eq!(
        (map.learning, shown(&map)),
        (learning, expected.iter().map(|s| s.to_string()).collect()),
        "{convention}"
    );
}

#[track_caller]
fn supervised(convention: &str, tags: &str, expected: &[&str]) {
    check(convention, tags, Learning::Supervised, expected);
}

#[test]
fn plain_pytorch() {
    for (train, val) in [
        ("Loss/train", "Loss/val"),
        ("loss/train", "loss/test"),
        ("train_loss", "val_loss"),
        ("Train/Loss", "Validation/Loss"),
        ("training/loss", "eval/loss"),
        ("loss", "val_loss"),
        ("running loss", "dev loss"),
        ("training loss", "validation loss"),
        ("Training Loss (avg)", "Validation Loss (avg)"),
        ("trainLoss", "valLoss"),
        ("batch_loss", "test_loss"),
        ("Loss_train|Loss", "Loss_val|Loss"),
        ("loss/train/epoch", "loss/valid/epoch"),
        ("epoch_loss_train", "epoch_loss_val"),
        ("iter/train_loss", "epoch/valid_loss"),
        ("Loss", "Loss_val"),
        ("metrics/train/loss", "metrics/val/loss"),
        ("losses/training", "losses/evaluation"),
        ("training/batchloss", "validation/avg_loss"),
    ] {
        let expected = [format!("train_loss = {train}"), format!("validation_loss = {val}")];
        supervised(train, &format!("{val}\n{train}"), &[&expected[0], &expected[1]]);
    }
}

#[test]
fn accuracies() {
    for (train, val) in [
        ("Accuracy/train", "Accuracy/val"),
        ("acc", "val_acc"),
        ("train/acc1", "val/acc1"),
        ("train_top1", "eval_top1"),
        ("train/sparse_categorical_accuracy", "validation/sparse_categorical_accuracy"),
        ("training_acc_epoch", "val_acc_epoch"),
        ("metrics/train/MulticlassAccuracy", "metrics/eval/MulticlassAccuracy"),
        ("Train/Acc@1", "Test/Acc@1"),
    ] {
        let tags = format!("{train}\n{val}\nloss\ntrain_acc5\ntop5/val");
        let expected = [format!("train_accuracy = {train}"), format!("validation_accuracy = {val}")];
        supervised(train, &tags, &["train_loss = loss", &expected[0], &expected[1]]);
    }
}

#[test]
fn learning_rates_and_gradient_norms() {
    for lr in [
        "lr",
        "learning_rate",
        "learning-rate",
        "lr-Adam",
        "lr-SGD/pg1",
        "x/lr0",
        "train/learning_rate",
        "opt/lr",
        "params/lr",
        "Policy/Learning Rate",
        "epoch_learning_rate",
        "LR",
        "lr/pg0",
        "charts/learning_rate",
        "epoch_lr",
        "learning/current_learning_rate",
        "lr-DecoupledAdamW/group0",
        "lr_0",
        "base_lr",
        "lr/unet",
        "LearningRate",
    ] {
        supervised(lr, &format!("loss\n{lr}"), &["train_loss = loss", &format!("learning_rate = {lr}")]);
    }
    for norm in [
        "grad_norm",
        "grad/norm",
        "grad-norm",
        "gnorm",
        "grad_2.0_norm_total",
        "global_norm/gradient_norm",
        "gradnorm",
        "gradients/global_norm",
        "training/grad_norm",
        "optim/total_grad_norm",
        "gradient_norm",
        "learning/raw_grad_norm",
        "GradNorm",
        "grad_norm/total",
        "l2_norm/grad/global",
        "l2_grads",
    ] {
        supervised(norm, &format!("loss\n{norm}"), &["train_loss = loss", &format!("gradient_norm = {norm}")]);
    }
}

#[test]
fn what_only_looks_like_a_signal_is_left_alone() {
    for nothing in [
        "lr-SGD-momentum",
        "lr-Adam/pg1-weight_decay",
        "loss_scale",
        "loss-scale vs samples",
        "hp_metric",
        "eta_seconds",
        "grad_norm_clipped",
        "params-norm",
        "global_step",
        "lr vs samples",
        "hparam/loss",
        "1699.5|hparam/accuracy",
        "val/lr",
        "num-zeros",
        "iteration-time",
    ] {
        supervised(nothing, &format!("loss\n{nothing} *999"), &["train_loss = loss"]);
    }
}

#[test]
fn keras() {
    let tags = "train|epoch_loss *5\ntrain|epoch_accuracy *5\ntrain|epoch_learning_rate *5\ntrain|batch_loss *500
        validation|epoch_loss *5\nvalidation|epoch_accuracy *5\nvalidation|evaluation_loss_vs_iterations *4
        train|dense_1/kernel_0 #\ntrain|dense/kernel_0 #";
    supervised(
        "Keras",
        tags,
        &[
            "train_loss = train|batch_loss",
            "validation_loss = validation|epoch_loss",
            "train_accuracy = train|epoch_accuracy",
            "validation_accuracy = validation|epoch_accuracy",
            "learning_rate = train|epoch_learning_rate",
            "weights = train|dense_1/kernel_0",
        ],
    );
    supervised(
        "Keras in one folder",
        "batch_loss *17\nbatch_acc *17\nepoch_loss *3\nepoch_acc *3\nepoch_val_loss *3\nepoch_val_acc *3",
        &[
            "train_loss = batch_loss",
            "validation_loss = epoch_val_loss",
            "train_accuracy = batch_acc",
            "validation_accuracy = epoch_val_acc",
        ],
    );
}

#[test]
fn lightning() {
    let tags = "hp_metric *1\ntrain_loss_step *480\ntrain_loss_epoch *9\nval_loss_epoch *9\nval_acc_epoch *9\nlr-SGD
        epoch\ngrad_2.0_norm_total\ngrad_2.0_norm/fc1.weight\ngrad_2.0_norm/fc2.weight";
    supervised(
        "Lightning",
        tags,
        &[
            "train_loss = train_loss_step",
            "validation_loss = val_loss_epoch",
            "validation_accuracy = val_acc_epoch",
            "learning_rate = lr-SGD",
            "gradient_norm = grad_2.0_norm_total",
            "epoch = epoch",
            "gradients = grad_2.0_norm/fc1.weight",
        ],
    );
    let map = read(&SignalRules::default(), tags);
    assert_eq!(layers(&map, Signal::Gradients), ["fc1.weight", "fc2.weight"]);
}

#[test]
fn hugging_face() {
    supervised(
        "Trainer",
        "train/loss\ntrain/grad_norm\ntrain/learning_rate\ntrain/epoch\neval/loss *9\neval/accuracy *9\ntrain/train_loss *1
        eval/runtime\ntrain/total_flos *1\ntrain/train_runtime *1",
        &[
            "train_loss = train/loss",
            "validation_loss = eval/loss",
            "validation_accuracy = eval/accuracy",
            "learning_rate = train/learning_rate",
            "gradient_norm = train/grad_norm",
            "epoch = train/epoch",
        ],
    );
    supervised(
        "TRL: DPO",
        "train/loss\ntrain/rewards/chosen\ntrain/rewards/rejected\ntrain/rewards/accuracies\ntrain/rewards/margins",
        &["train_loss = train/loss"],
    );
    for (framework, tag) in [
        ("baselines", "mean 100 episode reward"),
        ("muzero-general", "1.Total_reward/1.Total_reward"),
        ("written by hand", "avg_reward_last_100_episodes"),
        ("Spinning Up", "AverageEpRet"),
        ("written by hand", "Reward/Episode"),
    ] {
        check(framework, tag, Learning::Reinforcement, &[&format!("reward = {tag}")]);
    }
    check(
        "verl",
        "critic/rewards/mean\nactor/lr",
        Learning::Reinforcement,
        &["learning_rate = actor/lr", "reward? = critic/rewards/mean"],
    );
    check("only a score", "score/mean", Learning::Reinforcement, &["reward? = score/mean"]);
    supervised("a score beside a loss", "loss\nscore\neval/mcc", &["train_loss = loss", "score? = score"]);
    check("a generator alone", "training/gen_loss_total", Learning::Adversarial, &[]);
    check(
        "PyMARL",
        "loss\nreturn_mean\nbattle_won_mean",
        Learning::Reinforcement,
        &["reward = return_mean", "score? = battle_won_mean"],
    );
    check(
        "TRL: PPO",
        "env/reward_mean\nenv/reward_std\nobjective/kl\nppo/loss/total\nppo/loss/value\nppo/loss/policy",
        Learning::Reinforcement,
        &["reward? = env/reward_mean"],
    );
    check(
        "TRL: GRPO",
        "train/loss\ntrain/reward\ntrain/reward_std\ntrain/rewards/format_reward/mean\ntrain/kl",
        Learning::Reinforcement,
        &["reward = train/reward"],
    );
}

#[test]
fn tags_of_research_code() {
    supervised("BasicSR", "losses/l_pix\npsnr/REDS4", &["train_loss = losses/l_pix", "score? = psnr/REDS4"]);
    let gan = "losses/l_g_pix\nlosses/l_g_gan\nlosses/l_d_real\nlosses/l_d_fake";
    check("BasicSR: adversarial", gan, Learning::Adversarial, &[]);
    supervised("mmselfsup", "loss\nval/head0_top1", &["train_loss = loss", "validation_accuracy? = val/head0_top1"]);
    supervised(
        "Megatron",
        "lm loss\ngrad-norm/grad-norm",
        &["train_loss = lm loss", "gradient_norm = grad-norm/grad-norm"],
    );
}

#[test]
fn tensorflow() {
    supervised(
        "Estimator",
        "loss_1\nlearning_rate\nglobal_norm/gradient_norm\nglobal_step/sec\neval|loss *4",
        &[
            "train_loss = loss_1",
            "validation_loss = eval|loss",
            "learning_rate = learning_rate",
            "gradient_norm = global_norm/gradient_norm",
        ],
    );
    supervised("slim", "losses/clone_loss\ntotal_loss\nlosses/regularization_loss", &["train_loss = total_loss"]);
}

#[test]
fn jax() {
    supervised(
        "clu, flax",
        "train|loss\ntrain|accuracy\ntrain|learning_rate\neval|loss *3\neval|accuracy *3\ntrain|steps_per_second",
        &[
            "train_loss = train|loss",
            "validation_loss = eval|loss",
            "train_accuracy = train|accuracy",
            "validation_accuracy = eval|accuracy",
            "learning_rate = train|learning_rate",
        ],
    );
    supervised(
        "MaxText",
        "learning/loss\nlearning/grad_norm\nlearning/param_norm\nlearning/current_learning_rate\nevals/avg_loss *3",
        &[
            "train_loss = learning/loss",
            "validation_loss = evals/avg_loss",
            "learning_rate = learning/current_learning_rate",
            "gradient_norm = learning/grad_norm",
        ],
    );
}

#[test]
fn language_models() {
    supervised(
        "Megatron",
        "lm loss *999\nlm loss vs samples *999\nlm loss validation *9\nlm loss validation ppl *9\nlearning-rate *999
        grad-norm *999\nloss-scale *999\nparams-norm *999",
        &[
            "train_loss = lm loss",
            "validation_loss = lm loss validation",
            "learning_rate = learning-rate",
            "gradient_norm = grad-norm",
        ],
    );
    supervised(
        "Megatron",
        "lm-loss\nlm-loss-validation",
        &["train_loss = lm-loss", "validation_loss = lm-loss-validation"],
    );
    supervised(
        "NeMo",
        "reduced_train_loss\nval_loss *4\nlr\ngrad_norm\nglobal_step\nconsumed_samples\nepoch\ntrain_step_timing in s",
        &[
            "train_loss = reduced_train_loss",
            "validation_loss = val_loss",
            "learning_rate = lr",
            "gradient_norm = grad_norm",
            "epoch = epoch",
        ],
    );
    supervised(
        "fairseq",
        "train_inner|loss *500\ntrain_inner|nll_loss *500\ntrain_inner|ppl *500\ntrain_inner|gnorm *500\ntrain_inner|lr *500
        train|loss *5\nvalid|loss *5\nvalid|ppl *5",
        &[
            "train_loss = train_inner|loss",
            "validation_loss = valid|loss",
            "learning_rate = train_inner|lr",
            "gradient_norm = train_inner|gnorm",
        ],
    );
    supervised(
        "torchtitan",
        "loss_metrics/global_max_loss\nloss_metrics/global_avg_loss\ngrad_norm\nlr",
        &["train_loss = loss_metrics/global_avg_loss", "learning_rate = lr", "gradient_norm = grad_norm"],
    );
    supervised("OLMo", "train/CrossEntropyLoss\ntrain/Perplexity", &["train_loss? = train/CrossEntropyLoss"]);
    supervised(
        "OpenNMT",
        "progress/perplexity\nprogress/lr",
        &["train_loss? = progress/perplexity", "learning_rate = progress/lr"],
    );
    supervised(
        "DeepSpeed",
        "Train/Samples/train_loss\nTrain/Samples/lr\nTrain/Samples/loss_scale",
        &["train_loss = Train/Samples/train_loss", "learning_rate = Train/Samples/lr"],
    );
}

#[test]
fn losses_by_other_names() {
    for tag in [
        "reconstruction_error",
        "Train/huber",
        "train/logloss",
        "train/infonce",
        "train/bce_with_logits",
        "train/masked_mse",
        "train/energy_mae",
        "train/smape",
        "nll_bits",
        "loss0",
        "seg/ce",
        "poisson_nll",
        "train/neg_partial_loglik",
    ] {
        supervised(tag, tag, &[&format!("train_loss? = {tag}")]);
    }
    supervised("a VAE logs the whole and its parts", "elbo_loss\nrecon_loss\nkl_loss", &["train_loss = elbo_loss"]);
    supervised("a metric beside a loss", "train/loss\ntrain/energy_mae", &["train_loss = train/loss"]);
    let parts = read(&SignalRules::default(), "loss_ce\nloss_bbox\nloss_giou\ndepth_nll *3");
    assert_eq!(parts.all(Signal::TrainLoss).len(), 3, "the loss is the sum of what was logged with it");
    assert_eq!(shown(&read(&SignalRules::default(), "best_val_nll\nG_bce\nD_bce")), [""; 0]);
    supervised(
        "survival",
        "train/neg_partial_loglik\nval/c_index",
        &["train_loss? = train/neg_partial_loglik", "validation_accuracy? = val/c_index"],
    );
    supervised(
        "one prefix for all",
        "seg/ce\nseg/val_ce\nseg/val_miou",
        &["train_loss? = seg/ce", "validation_loss? = seg/val_ce", "validation_accuracy? = seg/val_miou"],
    );
}

#[test]
fn vision() {
    supervised(
        "YOLOv5",
        "train/box_loss\ntrain/obj_loss\ntrain/cls_loss\nmetrics/precision\nmetrics/recall\nmetrics/mAP_0.5
        metrics/mAP_0.5:0.95\nval/box_loss\nval/obj_loss\nval/cls_loss\nx/lr0\nx/lr1\nx/lr2",
        &[
            "train_loss? = train/box_loss",
            "validation_loss? = val/box_loss",
            "validation_accuracy? = metrics/mAP_0.5",
            "learning_rate = x/lr0",
        ],
    );
    supervised(
        "YOLOv8",
        "train/box_loss\ntrain/cls_loss\ntrain/dfl_loss\nmetrics/mAP50(B)\nmetrics/mAP50-95(B)\nval/box_loss\nlr/pg0\nlr/pg1",
        &[
            "train_loss? = train/box_loss",
            "validation_loss? = val/box_loss",
            "validation_accuracy? = metrics/mAP50(B)",
            "learning_rate = lr/pg0",
        ],
    );
    supervised(
        "detectron2",
        "loss_cls\nloss_box_reg\nloss_rpn_cls\ntotal_loss\nlr\nfast_rcnn/cls_accuracy\neta_seconds\nbbox/AP *3\nvalidation_loss",
        &[
            "train_loss = total_loss",
            "validation_loss = validation_loss",
            "validation_accuracy? = bbox/AP",
            "learning_rate = lr",
        ],
    );
    supervised(
        "MMEngine",
        "loss_cls\nloss_bbox\nloss\nlr\nbase_lr\ngrad_norm\ncoco/bbox_mAP *3\ntime\ndata_time",
        &[
            "train_loss = loss",
            "validation_accuracy? = coco/bbox_mAP",
            "learning_rate = lr",
            "gradient_norm = grad_norm",
        ],
    );
    supervised("VAE", "recon_loss\nkl_loss\nloss\nval_loss", &["train_loss = loss", "validation_loss = val_loss"]);
    supervised("VAE", "loss/kl\nloss/recon\nloss/total", &["train_loss = loss/total"]);
    supervised("a VAE without a total: its weights are unknown", "mse loss\nkld loss", &["train_loss? = mse loss"]);
    supervised(
        "Coqui",
        "TrainIterStats/loss\nEvalStats/avg_loss",
        &["train_loss = TrainIterStats/loss", "validation_loss = EvalStats/avg_loss"],
    );
    supervised(
        "kohya",
        "loss/average\nloss/current\nlr/unet",
        &["train_loss = loss/average", "learning_rate = lr/unet"],
    );
}

#[test]
fn parts_that_were_logged_together_make_up_the_loss() {
    let parts = |tags: &str, signal| {
        let map = read(&SignalRules::default(), tags);
        map.all(signal).iter().map(|m| (m.tag.clone(), m.part)).collect::<Vec<_>>()
    };
    let yolo = "train/box_loss *40\ntrain/cls_loss *40\ntrain/extra_loss *7\nval/box_loss *40\nval/cls_loss *40";
    let of = |split: &str| ["box", "cls"].map(|part| (format!("{split}/{part}_loss"), true));
    assert_eq!(parts(yolo, Signal::TrainLoss), of("train"));
    assert_eq!(parts(yolo, Signal::ValidationLoss), of("val"));
    assert_eq!(parts("loss\nbox_loss", Signal::TrainLoss), [("loss".to_owned(), false)]);
    let policy = read(&SignalRules::default(), "losses/policy_loss");
    assert_eq!((policy.learning, policy.get(Signal::TrainLoss)), (Learning::Reinforcement, None));
}

#[test]
fn what_is_measured_on_validation_data_is_never_read_as_training() {
    for tag in ["val_loss", "train/val_loss", "eval/train_loss", "validation|epoch_loss", "test|loss", "Loss/dev"] {
        let map = read(&SignalRules::default(), &format!("{tag} *999\nloss *1"));
        assert_eq!(map.get(Signal::TrainLoss).map(|m| m.tag.as_str()), Some("loss"), "{tag}");
        let alone = read(&SignalRules::default(), tag);
        assert_eq!((alone.get(Signal::TrainLoss), alone.learning), (None, Learning::Supervised), "{tag}");
    }
    supervised(
        "a test set beside",
        "loss\ntest_loss *99\nval_loss *9",
        &["train_loss = loss", "validation_loss = val_loss"],
    );
}

#[test]
fn what_is_not_known_is_not_guessed() {
    check("foreign", "strict/foo\nlax/bar_1\nRMSE_x\ncpu\nepoch", Learning::Unknown, &["epoch = epoch"]);
    check("no points", "loss *0", Learning::Unknown, &[]);
    supervised("a metric in place of a loss", "MAE\nMAE_val", &["train_loss? = MAE", "validation_loss? = MAE_val"]);
    supervised("a loss of some part", "my_net/head/loss", &["train_loss? = my_net/head/loss"]);
}

#[test]
fn histograms_have_layers() {
    let pair = |weights: &str, gradients: &str| {
        let map = read(&SignalRules::default(), &format!("loss\n{weights} #\n{gradients} #"));
        let layer = |signal| layers(&map, signal).into_iter().map(str::to_owned).collect::<Vec<_>>();
        (layer(Signal::Weights), layer(Signal::Gradients))
    };
    for (weights, gradients, layer) in [
        ("weights/0.weight", "gradients/0.weight", "0.weight"),
        ("10.weight", "10.weight.grad", "10.weight"),
        ("fc1/bias", "fc1/bias/grad", "fc1/bias"),
        ("parameters/encoder.fc", "gradients/encoder.fc", "encoder.fc"),
        ("dense/kernel_0", "dense/kernel_0_grad", "dense/kernel_0"),
        ("output.weight", "output.weight.grad", "output.weight"),
        ("Params/conv1", "Grads/conv1", "conv1"),
        ("layer1/weights/summaries/histogram", "gradients/layer1/weights", "layer1/weights"),
    ] {
        assert_eq!(pair(weights, gradients), (vec![layer.to_owned()], vec![layer.to_owned()]), "{weights}");
    }
    for nothing in ["Environment/Cumulative Reward_hist", "layer1/activations", "activations/fc1", "bn1.running_mean"] {
        assert_eq!(pair(nothing, nothing), (vec![], vec![]), "{nothing}");
    }
    let map = read(&SignalRules::default(), "0.weight #\n10.weight #\n2.weight #");
    assert_eq!(layers(&map, Signal::Weights), ["0.weight", "2.weight", "10.weight"]);
}

#[test]
fn the_site_knows_better() {
    let rule = |signal, pattern: &str| SiteRule { signal, pattern: pattern.to_owned() };
    let site = SignalRules::with_site(&[
        rule(Some(Signal::TrainLoss), "energy/main"),
        rule(Some(Signal::Gradients), "g:*"),
        rule(None, "debug/*"),
    ])
    .expect("usable patterns");
    let map = read(&site, "loss *999\nenergy/main\ndebug/val_loss\nep_rew_mean\ng:fc1 #");
    assert_eq!(map.learning, Learning::Supervised);
    assert_eq!(
        shown(&map),
        ["train_loss = energy/main", "reward = ep_rew_mean", "gradients = g:fc1"],
        "a loss that the site names is judged, rewards or not"
    );
    assert_eq!(layers(&map, Signal::Gradients), ["fc1"]);
    assert!(map.get(Signal::TrainLoss).is_some_and(|m| m.sure && m.rule.contains("energy/main")));
    assert_eq!(SignalRules::with_site(&[rule(None, "a"), rule(None, "*")]).err().map(|(place, _)| place), Some(1));
}

#[test]
fn a_rule_names_its_line_of_the_table() {
    let map = read(&SignalRules::default(), "lr-SGD");
    let rule = &map.get(Signal::LearningRate).expect("a learning rate").rule;
    let line: usize = rule.split(' ').nth(2).and_then(|n| n.parse().ok()).expect("a line");
    let table = include_str!("../../policies/signals.yaml");
    assert!(table.lines().nth(line - 1).is_some_and(|text| text.contains("lr-Adam")), "{rule}");
}
