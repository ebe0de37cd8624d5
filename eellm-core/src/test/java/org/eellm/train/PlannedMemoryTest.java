package org.eellm.train;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.within;
import static org.junit.jupiter.api.Assumptions.assumeTrue;

import java.util.ArrayList;
import java.util.Collections;
import java.util.List;
import java.util.Optional;
import java.util.Random;
import java.util.function.LongSupplier;
import java.util.stream.IntStream;
import org.eellm.config.ConfigFile;
import org.eellm.config.DataType;
import org.eellm.config.RunConfig;
import org.eellm.config.StageLayout;
import org.eellm.config.StageLayout.Slice;
import org.eellm.config.TrainConfig.Device;
import org.eellm.cost.Hardware;
import org.eellm.cost.Memory;
import org.eellm.cost.MemoryEstimator;
import org.eellm.cost.plan.Planner;
import org.eellm.distributed.InProcessRanks;
import org.eellm.distributed.World;
import org.eellm.distributed.mesh.Mesh;
import org.eellm.kernel.vector.CpuFlags;
import org.eellm.model.Dropout;
import org.eellm.model.parameter.Gradients;
import org.eellm.model.parameter.PostponedProducts;
import org.eellm.tensor.NativeAllocation;
import org.eellm.tensor.Scope;
import org.eellm.train.objective.Microbatch;
import org.eellm.train.objective.Objective;
import org.eellm.train.objective.Received;
import org.eellm.train.objective.StageExecutor;
import org.eellm.train.objective.StageExecutor.ForwardTape;
import org.junit.jupiter.api.Tag;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

/** What the planner counts is what is allocated, as the C library's allocator tells. */
final class PlannedMemoryTest {
  private static final Hardware CPU = cpu();

  private static Hardware cpu() {
    Hardware like = Hardware.read("a100-80gb");
    return new Hardware(
        "cpu",
        Device.CPU,
        80,
        0,
        8,
        like.float32(),
        like.bfloat16(),
        1,
        1,
        0,
        like.insideNode(),
        Optional.empty(),
        false,
        Optional.empty());
  }

  private static final int MOST_READINGS = 100;

  /**
   * Readings until so many of them are alike. Java's compilers and other threads allocate and free
   * megabytes of their own meanwhile, but hardly ever as many bytes in another reading.
   */
  private static final class Readings {
    private static final int ALIKE = 4;
    private static final double SPREAD = 0.001;

    private final List<Double> sorted = new ArrayList<>();

    void add(double reading) {
      sorted.add(reading);
      Collections.sort(sorted);
    }

    Optional<Double> agreed() {
      return IntStream.rangeClosed(0, sorted.size() - ALIKE)
          .filter(i -> sorted.get(i + ALIKE - 1) - sorted.get(i) <= SPREAD * sorted.get(i))
          .mapToObj(i -> sorted.get(i + ALIKE / 2))
          .findFirst();
    }

    double value() {
      return agreed().orElseThrow(() -> new AssertionError("no readings agree: " + sorted));
    }
  }

  private static RunConfig config(String... more) {
    List<String> overrides =
        new ArrayList<>(
            List.of(
                "model.hidden_size=256",
                "model.num_layers=4",
                "model.ffn_hidden_size=1024",
                "train.micro_batch_size=4",
                "train.global_batch_size=4"));
    overrides.addAll(List.of(more));
    return ConfigFile.preset("30m", overrides);
  }

  /** A configuration whose microbatches take no seconds. */
  private static RunConfig quick(String... settings) {
    RunConfig config = config(settings);
    assumeTrue(
        config.model().dtype() == DataType.FLOAT32 || CpuFlags.all().contains("avx512_bf16"),
        "the processor has no instructions for bfloat16");
    return config;
  }

  private static Memory planned(RunConfig config) {
    return Planner.plan(config, CPU).fullest().memory();
  }

  private static Microbatch microbatch(RunConfig config) {
    int batch = config.train().microBatchSize();
    int sequence = config.data().sequenceLength();
    int count = batch * sequence;
    int[] tokens = new Random(1).ints(count, 0, config.model().vocabSize()).toArray();
    return new Microbatch(batch, sequence, tokens, tokens, new float[count], new int[count]);
  }

  @ParameterizedTest
  @ValueSource(
      strings = {
        "model.dtype=bfloat16",
        "model.dtype=float32",
        "optimizer.algorithm=muon model.dtype=bfloat16",
        "optimizer.algorithm=muon model.dtype=float32",
        "optimizer.algorithm=muon exits.head=[mlp,block]"
      })
  void state_ofARun_isAsPlanned(String settings) {
    RunConfig config = config(settings.split(" "));
    Memory planned = planned(config);
    try (TrainState state = TrainState.initial(config, World.singleRank());
        Gradients gradients = new Gradients(state.model().parameters())) {
      var flat = state.model().parameters().flat();
      long weights = flat.numel() * flat.element_size();
      long angles = 3L * 256 * 32 * flat.element_size();
      long moments =
          state.optimizer().state().stream()
              .mapToLong(piece -> Float.BYTES * piece.values().numel())
              .sum();

      assertThat(planned.weights()).isEqualTo(weights + angles);
      assertThat(planned.gradients()).isEqualTo(Float.BYTES * gradients.flat().numel());
      assertThat(planned.optimizer()).isEqualTo(moments);
    }
  }

  @ParameterizedTest
  @ValueSource(
      strings = {
        "model.dtype=float32 train.recompute=none",
        "model.dtype=float32 train.recompute=full",
        "model.dtype=float32 model.residual=parallel model.normalization=layernorm",
        "model.dtype=float32 model.norm_placement=around model.layer_types=[sliding,full]"
            + " model.sliding_window=40"
      })
  void activations_ofAMicrobatch_areAsPlanned(String setting) {
    assertActivations(setting);
  }

  @Tag("slow")
  @ParameterizedTest
  @ValueSource(
      strings = {
        "model.dtype=bfloat16",
        "model.dtype=float32 train.recompute=selective",
        "model.dtype=float32 model.num_key_value_heads=2",
        "model.dtype=float32 model.residual=parallel train.recompute=full",
        "model.dtype=float32 model.norm_placement=after model.qk_norm_whole=true",
        "model.dtype=float32 model.attention_softcap=20 model.residual_scale=0.5"
      })
  void activations_ofOtherMicrobatches_areAsPlanned(String setting) {
    assertActivations(setting);
  }

  /** Of ranks as threads, all together. */
  @ParameterizedTest
  @ValueSource(
      strings = {
        "parallel.cp=2 model.dtype=float32",
        "parallel.cp=4 model.dtype=float32 model.num_key_value_heads=2"
      })
  void activations_ofSequencesThatRanksShare_areAsPlanned(String setting) {
    RunConfig config = quick(setting.split(" "));
    int ranks = config.parallel().cp();
    long planned = ranks * planned(config).activations();
    List<Double> taken =
        InProcessRanks.run(
            new Mesh(1, ranks, 1, 1),
            world -> {
              try (TrainState state = TrainState.initial(config, world)) {
                StageExecutor chain = new StageExecutor(state.model(), config.train().recompute());
                Microbatch batch = microbatch(config);
                Readings readings = new Readings(); // the first rank's
                int left = MOST_READINGS; // and all ranks stop after the same one
                while (world.all().sum(readings.agreed().isPresent() ? 1 : 0)[0] == 0
                    && left-- > 0) {
                  long before = NativeAllocation.bytes();
                  world.all().barrier();
                  try (Scope _ = Scope.open();
                      ForwardTape tape =
                          chain.forward(batch, Received.NOTHING, Dropout.NONE, _ -> {})) {
                    world.all().barrier();
                    if (world.rank() == 0) {
                      readings.add(NativeAllocation.bytes() - before);
                    }
                    assertThat(tape.output().size(0)).isEqualTo(1024 / ranks);
                    world.all().barrier();
                  }
                }
                return world.rank() > 0 ? 0 : readings.value();
              }
            });
    assertThat(taken.getFirst()).isCloseTo(planned, within(0.02 * planned));
  }

  private static void assertActivations(String setting) {
    RunConfig config = quick(setting.split(" "));
    long planned = planned(config).activations();
    try (TrainState state = TrainState.initial(config, World.singleRank())) {
      StageExecutor chain = new StageExecutor(state.model(), config.train().recompute());
      Microbatch batch = microbatch(config);
      for (int warmUp = 0; warmUp < 2; warmUp++) {
        chain.forward(batch, Received.NOTHING, Dropout.NONE, _ -> {}).close();
      }
      assertThat(agreed(() -> taken(chain, batch))).isCloseTo(planned, within(0.01 * planned));
    }
  }

  @ParameterizedTest
  @ValueSource(
      strings = {
        "model.dtype=bfloat16",
        "model.dtype=float32",
        "model.dtype=float32 exits.head=[mlp,block,norm]"
      })
  void postponedProducts_ofAMicrobatch_areAsPlanned(String setting) {
    RunConfig config =
        quick((setting + " model.vocab_size=4096 data.sequence_length=64").split(" "));
    Slice slice = StageLayout.whole(config.architecture()).slices().getFirst();
    long planned = new MemoryEstimator(config, CPU).postponed(slice);
    try (TrainState state = TrainState.initial(config, World.singleRank());
        Gradients gradients = new Gradients(state.model().parameters())) {
      StageExecutor chain = new StageExecutor(state.model(), config.train().recompute());
      List<Double> weights = new ArrayList<>(config.exits().weights());
      weights.add(1.0);
      Objective objective =
          new Objective(weights, Collections.nCopies(weights.size(), 1.0), false, 0);
      Microbatch batch = microbatch(config);
      gradients.start();
      for (int warmUp = 0; warmUp < 2; warmUp++) {
        postponed(chain, batch, objective, gradients);
      }
      assertThat(agreed(() -> postponed(chain, batch, objective, gradients)))
          .isCloseTo(planned, within(0.02 * planned));
    }
  }

  /** Bytes that a microbatch's backward pass leaves allocated for the gradients of matrices. */
  private static long postponed(
      StageExecutor chain, Microbatch batch, Objective objective, Gradients gradients) {
    long before = NativeAllocation.bytes();
    try (PostponedProducts later = new PostponedProducts()) {
      try (Gradients.Postponing _ = gradients.postpone(later)) {
        chain.forwardBackward(batch, objective, 1, Dropout.NONE, gradients);
      }
      return NativeAllocation.bytes() - before;
    }
  }

  /** Bytes that a microbatch's forward pass leaves allocated. */
  private static long taken(StageExecutor chain, Microbatch batch) {
    long before = NativeAllocation.bytes();
    try (Scope scope = Scope.open();
        ForwardTape walk = chain.forward(batch, Received.NOTHING, Dropout.NONE, _ -> {})) {
      long taken = NativeAllocation.bytes() - before;
      assertThat(walk.output().size(0)).isEqualTo(1024);
      return taken;
    }
  }

  private static double agreed(LongSupplier reading) {
    Readings readings = new Readings();
    for (int i = 0; i < MOST_READINGS && readings.agreed().isEmpty(); i++) {
      readings.add(reading.getAsLong());
    }
    return readings.value();
  }
}
