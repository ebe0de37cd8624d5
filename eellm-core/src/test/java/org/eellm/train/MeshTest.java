package org.eellm.train;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.withinPercentage;

import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Objects;
import java.util.stream.IntStream;
import java.util.stream.Stream;
import org.eellm.config.Architecture;
import org.eellm.config.OptimizerConfig;
import org.eellm.config.ParallelConfig;
import org.eellm.config.ParallelConfig.PipelineSchedule;
import org.eellm.golden.GoldenCase;
import org.eellm.tensor.OneThread;
import org.eellm.train.MeshSteps.Job;
import org.eellm.train.MeshSteps.Learner;
import org.eellm.train.MeshSteps.Outcome;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.extension.ExtendWith;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.Arguments;
import org.junit.jupiter.params.provider.FieldSource;
import org.junit.jupiter.params.provider.MethodSource;

/**
 * Every mesh computes what one rank computes: losses, gradients and three optimizer steps of every
 * golden case, with the ranks as threads.
 */
@ExtendWith(OneThread.class)
final class MeshTest {
  private static final double RELATIVE = 1e-5;

  /**
   * AdamW divides a gradient by its own size, so the rounding of small ones becomes part of a full
   * step: 2.4e-5 where a library's products of unequal widths differ in their last bits.
   */
  private static final double RELATIVE_AFTER_STEPS = 5e-5;

  /** A mesh and what flows through it, under a name. */
  record Layout(String name, ParallelConfig parallel) {
    @Override
    public String toString() {
      return name;
    }
  }

  private static Layout layout(String name, int tp, int dp, int pp) {
    return new Layout(name, ParallelConfig.of(tp, dp, pp));
  }

  private static Layout context(String name, int tp, int cp, int dp, int pp, boolean sequence) {
    return new Layout(
        name,
        new ParallelConfig(
            tp,
            cp,
            dp,
            pp,
            sequence,
            PipelineSchedule.ONE_FORWARD_ONE_BACKWARD,
            1,
            ParallelConfig.Balance.EVEN,
            List.of(),
            false,
            0,
            0,
            1,
            60));
  }

  private static Layout layout(
      String name,
      int tp,
      int dp,
      int pp,
      boolean sequence,
      PipelineSchedule schedule,
      int chunks,
      List<Integer> layers,
      boolean preExit) {
    return new Layout(
        name,
        new ParallelConfig(
            tp,
            1,
            dp,
            pp,
            sequence,
            schedule,
            chunks,
            ParallelConfig.Balance.EVEN,
            layers,
            preExit,
            0,
            0,
            1,
            60));
  }

  static final List<Layout> LAYOUTS =
      List.of(
          layout("tp2", 2, 1, 1),
          layout(
              "afab",
              1,
              1,
              1,
              false,
              PipelineSchedule.ALL_FORWARD_ALL_BACKWARD,
              1,
              List.of(),
              false),
          layout("one", 1, 1, 1),
          layout("pp2", 1, 1, 2),
          layout("pp4", 1, 1, 4),
          layout("dp2", 1, 2, 1),
          layout("dp4", 1, 4, 1),
          layout("tp2 pp2", 2, 1, 2),
          layout("pp2 dp2", 1, 2, 2),
          layout("tp2 pp2 dp2", 2, 2, 2),
          layout(
              "tp2 sp",
              2,
              1,
              1,
              true,
              PipelineSchedule.ONE_FORWARD_ONE_BACKWARD,
              1,
              List.of(),
              false),
          layout(
              "tp2 sp pp2",
              2,
              1,
              2,
              true,
              PipelineSchedule.ONE_FORWARD_ONE_BACKWARD,
              1,
              List.of(),
              false),
          layout(
              "pp2 afab",
              1,
              1,
              2,
              false,
              PipelineSchedule.ALL_FORWARD_ALL_BACKWARD,
              1,
              List.of(),
              false),
          layout(
              "pp2 chunks 2",
              1,
              1,
              2,
              false,
              PipelineSchedule.ONE_FORWARD_ONE_BACKWARD,
              2,
              List.of(),
              false),
          layout(
              "pp2 uneven",
              1,
              1,
              2,
              false,
              PipelineSchedule.ONE_FORWARD_ONE_BACKWARD,
              1,
              List.of(1, 3),
              false),
          layout(
              "pp2 pre-exit",
              1,
              1,
              2,
              false,
              PipelineSchedule.ONE_FORWARD_ONE_BACKWARD,
              1,
              List.of(),
              true),
          layout(
              "pp2 dp2 zero bubble",
              1,
              2,
              2,
              false,
              PipelineSchedule.ZERO_BUBBLE,
              1,
              List.of(),
              false),
          layout(
              "pp4 zero bubble", 1, 1, 4, false, PipelineSchedule.ZERO_BUBBLE, 1, List.of(), false),
          layout(
              "tp2 sp pp2 zero bubble",
              2,
              1,
              2,
              true,
              PipelineSchedule.ZERO_BUBBLE,
              1,
              List.of(),
              false),
          context("cp2", 1, 2, 1, 1, false),
          context("cp3", 1, 3, 1, 1, false),
          context("cp4", 1, 4, 1, 1, false),
          context("tp2 cp2", 2, 2, 1, 1, false),
          context("tp2 sp cp2", 2, 2, 1, 1, true),
          context("cp2 pp2", 1, 2, 1, 2, false),
          context("cp2 dp2", 1, 2, 2, 1, false),
          context("tp2 sp cp2 pp2", 2, 2, 1, 2, true));

  /** Of the cases on each mesh, so that each case has three meshes at least. */
  private static final int SHARE = 8;

  static Stream<Arguments> cases() {
    return LAYOUTS.stream()
        .flatMap(layout -> suitable(layout).stream().map(name -> Arguments.of(name, layout)));
  }

  private static List<String> suitable(Layout layout) {
    return GoldenCase.NAMES.stream()
        .filter(name -> (LAYOUTS.indexOf(layout) + GoldenCase.NAMES.indexOf(name)) % SHARE == 0)
        .filter(name -> suits(layout, GoldenCase.named(name).architecture()))
        .toList();
  }

  /** An exit with a branch MLP cannot leave its stage, which the configuration refuses. */
  private static boolean suits(Layout layout, Architecture architecture) {
    return !layout.parallel().preExit() || !architecture.exits().mlp();
  }

  private static final Learner MUON = new Learner(OptimizerConfig.Algorithm.MUON, 0);

  private static final Learner TAUGHT = new Learner(OptimizerConfig.Algorithm.ADAMW, 0.7);

  static final List<String> TAUGHT_MESHES =
      List.of(
          "pp2",
          "tp2 sp pp2",
          "tp2 pp2 dp2",
          "pp2 chunks 2",
          "pp4",
          "tp2",
          "tp2 sp pp2 zero bubble",
          "cp2 pp2");

  static final List<String> MUON_MESHES =
      List.of("tp2", "dp2", "dp4", "pp2 dp2", "tp2 sp pp2", "tp2 pp2 dp2", "cp2 dp2");

  static final List<String> DROPOUT_CASES =
      List.of(
          "llama_mlp_block_gqa",
          "gpt_norm_tied",
          "llama_norm_tied",
          "neox_parallel_mlp",
          "gemma2_like");

  private static final List<String> DROPOUT_MESHES =
      List.of("tp2", "tp2 sp pp2", "pp2 dp2", "pp4 zero bubble", "cp2", "cp3", "tp2 sp cp2 pp2");

  private static final double DROPOUT = 0.2;

  private static final Map<Job, Outcome> CONTROLS = new HashMap<>();

  /** Of each layout all jobs that tests ask for. */
  private static final Map<String, Map<Job, Outcome>> MESHES = new HashMap<>();

  private static List<Job> jobs(Layout layout) {
    List<Job> jobs = new ArrayList<>();
    suitable(layout).forEach(name -> jobs.add(Job.of(name, Learner.USUAL)));
    if (TAUGHT_MESHES.contains(layout.name())) {
      taught(layout).forEach(name -> jobs.add(Job.of(name, TAUGHT)));
    }
    if (MUON_MESHES.contains(layout.name())) {
      suitable(layout).forEach(name -> jobs.add(Job.of(name, MUON)));
    }
    if (DROPOUT_MESHES.contains(layout.name())) {
      DROPOUT_CASES.forEach(name -> jobs.add(Job.dropping(name, DROPOUT)));
    }
    return jobs;
  }

  private static Outcome onMesh(Layout layout, Job job) {
    return Objects.requireNonNull(
        MESHES
            .computeIfAbsent(layout.name(), _ -> MeshSteps.onMesh(layout.parallel(), jobs(layout)))
            .get(job));
  }

  private static Outcome alone(Job job) {
    return CONTROLS.computeIfAbsent(job, MeshSteps::alone);
  }

  private static void assertLikeAlone(Layout layout, Job job) {
    Outcome mesh = onMesh(layout, job);
    // When the heads run makes no difference on one rank.
    Outcome control = alone(Job.of(job.name(), job.learner()));
    compareWays(job.golden(), mesh, control);
    compare("parameter", mesh.parameters(), control.parameters(), RELATIVE_AFTER_STEPS);
  }

  @ParameterizedTest
  @MethodSource("cases")
  void steps_onMesh_equalAWorldOfOne(String name, Layout layout) {
    assertLikeAlone(layout, Job.of(name, Learner.USUAL));
  }

  /** Weight gradients add up in the same order, whenever they are made. */
  @Test
  void steps_zeroBubble_equalThoseOf1F1BToTheBit() {
    List<Job> jobs = List.of(Job.of("llama_mlp_block_gqa", Learner.USUAL));
    Outcome plain = MeshSteps.onMesh(named("pp4").parallel(), jobs).values().iterator().next();
    Outcome split =
        MeshSteps.onMesh(named("pp4 zero bubble").parallel(), jobs).values().iterator().next();

    assertThat(split.norms()).isEqualTo(plain.norms());
    assertThat(split.parameters().keySet()).isEqualTo(plain.parameters().keySet());
    split
        .parameters()
        .forEach((name, values) -> assertThat(values).isEqualTo(plain.parameters().get(name)));
  }

  private static Layout named(String name) {
    return LAYOUTS.stream().filter(layout -> layout.name().equals(name)).findFirst().orElseThrow();
  }

  /** With the final head as the exits' teacher. */
  @ParameterizedTest
  @FieldSource("TAUGHT_MESHES")
  void steps_ofDistilledExits_equalAWorldOfOne(String mesh) {
    List<String> names = taught(named(mesh));
    assertThat(names).isNotEmpty();
    names.forEach(name -> assertLikeAlone(named(mesh), Job.of(name, TAUGHT)));
  }

  /** A share of the cases whose exits can be taught there. */
  private static List<String> taught(Layout layout) {
    List<String> able =
        GoldenCase.NAMES.stream()
            .filter(name -> suits(layout, GoldenCase.named(name).architecture()))
            .filter(
                name ->
                    layout.parallel().pp() == 1
                        || GoldenCase.named(name).architecture().exits().tieOutput())
            .toList();
    return IntStream.range(0, able.size())
        .filter(number -> number % SHARE == 0)
        .mapToObj(able::get)
        .toList();
  }

  @ParameterizedTest
  @FieldSource("MUON_MESHES")
  void steps_ofMuon_equalAWorldOfOne(String mesh) {
    suitable(named(mesh)).forEach(name -> assertLikeAlone(named(mesh), Job.of(name, MUON)));
  }

  @ParameterizedTest
  @FieldSource("DROPOUT_CASES")
  void steps_withDropout_dropTheSameOnEveryMesh(String name) {
    Job job = Job.dropping(name, DROPOUT);
    for (String mesh : DROPOUT_MESHES) {
      compareWays(job.golden(), onMesh(named(mesh), job), alone(job));
    }
  }

  /** The losses of all steps, and the first step's gradient. */
  private static void compareWays(GoldenCase golden, Outcome mesh, Outcome control) {
    for (int step = 0; step < control.losses().size(); step++) {
      double[] wanted = control.losses().get(step);
      double[] actual = mesh.losses().get(step);
      for (int head = 0; head < wanted.length; head++) {
        assertThat(actual[head])
            .as("loss of head %d in step %d", head, step + 1)
            .isCloseTo(wanted[head], withinPercentage(100 * RELATIVE));
      }
      assertThat(mesh.norms().get(step))
          .isCloseTo(control.norms().get(step), withinPercentage(100 * RELATIVE));
    }
    assertThat(mesh.gradients().keySet()).isEqualTo(control.gradients().keySet());
    assertThat(mesh.parameters().keySet()).isEqualTo(control.parameters().keySet());
    // A gradient that is zero but for rounding is of any relative size, and Adam makes full steps
    // of its sign.
    golden
        .expected()
        .get("zero_grad_params")
        .forEach(
            name -> {
              mesh.gradients().remove(name.asText());
              mesh.parameters().remove(name.asText());
            });
    compare("gradient", mesh.gradients(), control.gradients(), RELATIVE);
  }

  /** The difference's length, relative to the parameter's. */
  private static void compare(
      String kind, Map<String, float[]> actual, Map<String, float[]> wanted, double tolerance) {
    actual.forEach(
        (name, others) -> {
          float[] values = Objects.requireNonNull(wanted.get(name));
          double length = 0;
          double difference = 0;
          assertThat(others).hasSameSizeAs(values);
          for (int i = 0; i < values.length; i++) {
            length += (double) values[i] * values[i];
            difference += Math.pow(values[i] - others[i], 2);
          }
          // A value that is not a number makes the sum one that is not, which is no less.
          assertThat(Math.sqrt(difference / length))
              .as("%s of %s", kind, name)
              .isLessThanOrEqualTo(tolerance);
        });
  }
}
