package org.eellm.cost.plan;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;
import static org.assertj.core.api.Assertions.within;
import static org.assertj.core.api.Assertions.withinPercentage;

import java.util.List;
import org.eellm.config.ConfigException;
import org.eellm.config.ConfigFile;
import org.eellm.config.ExitsConfig;
import org.eellm.config.RunConfig;
import org.eellm.cost.Hardware;
import org.eellm.cost.Memory;
import org.junit.jupiter.api.Test;

final class PlannerTest {
  private static final Hardware A100 = Hardware.read("a100-80gb");

  private static Plan plan(String preset, String... overrides) {
    RunConfig config = ConfigFile.preset(preset, List.of(overrides));
    return Planner.plan(config, A100);
  }

  @Test
  void plan_sevenBillionOnFourStages_countsStateByHand() {
    Plan plan = plan("ee-llm-7b", "parallel.pp=4", "parallel.dp=16");

    // A layer: 4 x 4096^2 + 3 x 4096 x 10880 + 2 x 4096; stage 2 has eight of them and no head.
    long layer = 4L * 4096 * 4096 + 3L * 4096 * 10880 + 2 * 4096;
    Memory memory = plan.stages().get(2).memory();
    assertThat(plan.stages().get(2).parameters()).isEqualTo(8 * layer);
    assertThat(memory.gradients()).isEqualTo(4 * 8 * layer + 4 * 8 * layer / 16);
    assertThat(memory.optimizer()).isEqualTo(12 * 8 * layer / 16);
    long angles = 3L * 2048 * 128 * 2;
    assertThat(memory.weights()).isEqualTo(2 * 8 * layer + angles);
  }

  @Test
  void plan_ofMuon_countsProductsAndSparesAMoment() {
    Plan adamW = plan("ee-llm-7b", "parallel.pp=4");
    Plan muon = plan("ee-llm-7b", "parallel.pp=4", "optimizer.algorithm=muon");

    // Three polynomials of three products; h = 4096, f = 10880.
    double square = 3 * (4.0 + 2) * Math.pow(4096, 3);
    double wide = 3 * (4.0 * 4096 * 4096 * 10880 + 2 * Math.pow(4096, 3));
    double seconds = 8 * (4 * square + 3 * wide) / (muon.hardware().bfloat16().product() * 1e12);
    assertThat(muon.time().update() - adamW.time().update())
        .isCloseTo(seconds, within(1e-9 * seconds));
    long matrices = 8 * (4L * 4096 * 4096 + 3L * 4096 * 10880);
    assertThat(muon.stages().get(2).memory().optimizer())
        .isEqualTo(adamW.stages().get(2).memory().optimizer() - 4 * matrices);
  }

  @Test
  void plan_ofMuonOnAMesh_takesLongerThanItsShareOfTheProducts() {
    double alone = plan("ee-llm-7b", "optimizer.algorithm=muon").time().update();
    double replicas =
        plan("ee-llm-7b", "optimizer.algorithm=muon", "parallel.dp=8").time().update();
    double parts = plan("ee-llm-7b", "optimizer.algorithm=muon", "parallel.tp=8").time().update();
    assertThat(replicas).isBetween(alone / 8, alone * 1.2);
    assertThat(parts).isBetween(alone / 2, alone * 1.2);
  }

  @Test
  void plan_ofTuning_countsWhatIsLoadedAndWhatLearns() {
    Plan tuned = plan("tune-llama-7b", "tune.model=llama");
    // A layer, a norm and two head matrices; an exit's head: an MLP with its norm, a norm, a
    // matrix.
    long layer = 4L * 4096 * 4096 + 3L * 4096 * 11008 + 2 * 4096;
    long head = 3L * 4096 * 11008 + 4096 + 32000L * 4096;
    long loaded = 16 * layer + 32000L * 4096 + 2 * head;
    Plan.StagePlan stage = tuned.stages().getFirst();
    assertThat(stage.parameters()).isEqualTo(loaded);
    assertThat(stage.memory().gradients()).isEqualTo(4 * 2 * head);
    assertThat(stage.memory().optimizer()).isEqualTo(12 * 2 * head);
    assertThat(tuned.fits()).isTrue();

    Plan trained = plan("tune-llama-7b");
    assertThat(trained.fits()).isFalse();
    assertThat(tuned.flops()).isBetween(0.15 * trained.flops(), 0.35 * trained.flops());
    assertThat(tuned.time().pipeline()).isLessThan(0.35 * trained.time().pipeline());
    Plan taught = plan("tune-llama-7b", "tune.model=llama", "tune.target=final_head");
    assertThat(taught.time().pipeline())
        .isBetween(tuned.time().pipeline() * 1.3, trained.time().pipeline());
  }

  @Test
  void plan_exitsAndHead_computedByHand() {
    Plan plan =
        plan(
            "30m",
            "model.vocab_size=1000",
            "model.hidden_size=256",
            "model.num_layers=4",
            "model.ffn_hidden_size=1024",
            "exits.layers=[2]",
            "exits.weights=[1]",
            "train.micro_batch_size=4",
            "train.global_batch_size=4");

    // Four layers of 4 h^2 + 3 h f, two norms each; a tied embedding, a final norm, an exit's norm.
    long matrices = 4L * (4 * 256 * 256 + 3 * 256 * 1024);
    assertThat(plan.parameters().total()).isEqualTo(matrices + 4 * 2 * 256 + 1000 * 256 + 2 * 256);
    // 6 operations a matrix entry and token, 12 s a for attention, two heads of 6 V h.
    double token = 6.0 * matrices + 4 * 12.0 * 256 * 256 + 2 * 6.0 * 1000 * 256;
    assertThat(plan.flops()).isCloseTo(1024 * token, within(1e-6 * plan.flops()));
  }

  @Test
  void plan_exitsOnMiddleStages_costNothing() {
    Plan with = plan("ee-llm-7b", "parallel.pp=4", "parallel.dp=16");

    assertThat(secondsOfExits(with)).isCloseTo(0, within(1e-9));
  }

  @Test
  void plan_exitsThatLearnFromTheFinalHead_waitForItOnceAStep() {
    Plan with =
        plan(
            "ee-llm-7b",
            "parallel.pp=4",
            "parallel.dp=16",
            "exits.distillation=1",
            "exits.tie_output=true");

    double head = 6.0 * 32000 * 4096 * 4096 / (A100.bfloat16().product() * 1e12);
    assertThat(secondsOfExits(with)).isBetween(2 * head, 0.02 * with.time().total());
  }

  /** What exits add to the pipeline's time. */
  private static double secondsOfExits(Plan with) {
    Plan without = Planner.plan(with.config().withExits(ExitsConfig.none()), with.hardware());
    return with.time().pipeline() - without.time().pipeline();
  }

  @Test
  void plan_pipelineAndReplicas_addUp() {
    Plan plan = plan("ee-llm-1.3b", "parallel.pp=4", "parallel.dp=2");

    assertThat(plan.timeline().makespan()).isEqualTo(plan.time().pipeline());
    assertThat(plan.tokensPerSecond() * plan.time().total()).isCloseTo(2048.0 * 2048, within(1e-3));
    assertThat(plan.utilization()).isBetween(0.0, 1.0);
  }

  @Test
  void plan_sequencesThatRanksShare_haveActivationsShareStateAndTakeTheRingsTime() {
    String[] lengthy = {"data.sequence_length=32768", "model.max_positions=32768"};
    Plan alone = plan("ee-llm-7b", lengthy);
    Plan shared = plan("ee-llm-7b", lengthy[0], lengthy[1], "parallel.cp=8");
    Memory whole = alone.fullest().memory();
    Memory part = shared.fullest().memory();

    assertThat(shared.devices()).isEqualTo(8);
    assertThat(part.weights()).isEqualTo(whole.weights());
    assertThat((double) part.optimizer()).isCloseTo(whole.optimizer() / 8.0, withinPercentage(1));
    assertThat(part.activations()).isLessThan(whole.activations() / 7);
    assertThat(shared.time().total()).isBetween(alone.time().total() / 8, alone.time().total());
  }

  @Test
  void plan_vocabularyOfTheTokenizer_isRefused() {
    assertThatThrownBy(() -> plan("quickstart"))
        .isInstanceOf(ConfigException.class)
        .hasMessageStartingWith("model.vocab_size: 0 needs a tokenizer");
  }

  @Test
  void hardware_unknownName_saysWhichThereAre() {
    assertThatThrownBy(() -> Hardware.read("a100"))
        .isInstanceOf(ConfigException.class)
        .hasMessage(
            "hardware a100: is unknown; use one of a100-80gb, h100-80gb, rtx4090-24gb, or a .yaml"
                + " file of your own (docs/plan.md)");
  }

  @Test
  void hardware_everyPreset_isRead() {
    assertThat(Hardware.PRESETS)
        .allSatisfy(name -> assertThat(Hardware.read(name).name()).isEqualTo(name));
  }
}
