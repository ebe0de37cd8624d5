package org.eellm.train;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;
import static org.assertj.core.api.Assertions.within;
import static org.assertj.core.api.Assertions.withinPercentage;
import static org.assertj.core.api.Assumptions.assumeThat;

import com.fasterxml.jackson.databind.JsonNode;
import java.io.IOException;
import java.lang.foreign.Arena;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Collections;
import java.util.List;
import java.util.Map;
import java.util.Objects;
import java.util.TreeMap;
import java.util.stream.Stream;
import org.eellm.checkpoint.CheckpointStore;
import org.eellm.checkpoint.FlatStateShard;
import org.eellm.checkpoint.ModelWeights;
import org.eellm.checkpoint.TrainingFiles;
import org.eellm.checkpoint.safetensors.CheckpointException;
import org.eellm.checkpoint.safetensors.SafetensorsFile;
import org.eellm.checkpoint.safetensors.StoredTensor;
import org.eellm.checkpoint.safetensors.TensorFile;
import org.eellm.config.Learning;
import org.eellm.config.ParallelConfig;
import org.eellm.config.RunConfig;
import org.eellm.data.SampleSource;
import org.eellm.distributed.DistributedException;
import org.eellm.distributed.InProcessRanks;
import org.eellm.distributed.World;
import org.eellm.distributed.mesh.Mesh;
import org.eellm.model.parameter.Parameter;
import org.eellm.tensor.Scope;
import org.eellm.tensor.Tensors;
import org.eellm.train.metrics.MetricsFile;
import org.eellm.train.metrics.Trace;
import org.eellm.train.metrics.TrainEvent.Evaluation;
import org.eellm.train.metrics.TrainEvent.HeadQuality;
import org.junit.jupiter.api.Tag;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

/** What one mesh saved, every other can go on with. */
final class ReshardTest {
  /** Settings of each mesh, in the order that a checkpoint goes through them. */
  private static final List<List<String>> MESHES =
      List.of(
          List.of("parallel.tp=2"),
          List.of("parallel.dp=2"),
          List.of("parallel.pp=4"),
          List.of("parallel.cp=2", "parallel.dp=2"),
          List.of("parallel.tp=2", "parallel.dp=2", "parallel.bucket_megabytes=1"),
          List.of("parallel.pp=2", "parallel.chunks=2"),
          List.of("parallel.tp=2", "parallel.pp=2", "parallel.sequence_parallel=true"),
          List.of("parallel.pp=2", "parallel.dp=2", "parallel.layers_per_stage=[1,3]"),
          List.of("parallel.pp=2", "parallel.pre_exit=true"),
          List.of("parallel.tp=2", "parallel.pp=2", "parallel.dp=2"));

  @TempDir Path folder;

  private RunConfig config(List<String> settings, String... more) {
    return TinyRun.config(
        folder, Stream.concat(settings.stream(), Stream.of(more)).toArray(String[]::new));
  }

  private static Mesh mesh(RunConfig config) {
    ParallelConfig parallel = config.parallel();
    return new Mesh(parallel.tp(), parallel.cp(), parallel.dp(), parallel.pp());
  }

  @Test
  void state_passedFromMeshToMesh_staysAsItWas() {
    assertStays("optimizer.algorithm=muon model.dtype=bfloat16");
  }

  @Tag("slow")
  @ParameterizedTest
  @ValueSource(
      strings = {
        "model.dtype=float32",
        "model.tie_embeddings=false",
        "exits.tie_output=false",
      })
  void state_ofOtherRunsPassedFromMeshToMesh_staysAsItWas(String settings) {
    assertStays(settings);
  }

  private void assertStays(String settings) {
    String[] setting = settings.split(" ");
    RunConfig alone = config(List.of(), setting);
    Path first = folder.resolve("first");
    try (TrainState state = TrainState.initial(alone, World.singleRank())) {
      int seed = 1;
      for (FlatStateShard piece : state.optimizer().state()) {
        fill(piece, seed++);
      }
      write(state, first, World.singleRank());
    }
    Map<String, float[]> expected = read(alone, first);

    Path last = first;
    for (int i = 0; i < MESHES.size(); i++) {
      RunConfig config = config(MESHES.get(i), setting);
      Path from = last;
      Path to = folder.resolve("mesh-" + i);
      InProcessRanks.run(
          mesh(config),
          world -> {
            try (TrainState state = TrainState.load(config, world, from)) {
              write(state, to, world);
            }
            return true;
          });
      Map<String, float[]> found = read(alone, to);
      assertThat(found).containsOnlyKeys(expected.keySet());
      for (Map.Entry<String, float[]> values : expected.entrySet()) {
        assertThat(found.get(values.getKey()))
            .as("%s on %s", values.getKey(), MESHES.get(i))
            .isEqualTo(values.getValue());
      }
      last = to;
    }
  }

  /**
   * Each rank its own slices, and not whole parameters; norms are on every tensor-parallel rank.
   */
  @ParameterizedTest
  @ValueSource(
      strings = {
        "parallel.tp=2 parallel.dp=2",
        "parallel.dp=4 train.micro_batch_size=1",
        "parallel.tp=2 parallel.pp=2",
        "parallel.cp=2 parallel.dp=2",
        "parallel.dp=1"
      })
  void load_onAnyMesh_readsTheStateOnceInAll(String mesh) throws IOException {
    String[] untied = {
      "model.tie_embeddings=false", "exits.tie_output=false", "model.dtype=bfloat16"
    };
    RunConfig saving = config(List.of("parallel.tp=2", "parallel.dp=2"), untied);
    Path checkpoint = folder.resolve("checkpoint");
    InProcessRanks.run(
        mesh(saving),
        world -> {
          try (TrainState state = TrainState.initial(saving, world)) {
            write(state, checkpoint, world);
          }
          return true;
        });
    RunConfig resuming = config(List.of(mesh.split(" ")), untied);
    List<Long> read =
        InProcessRanks.run(
            mesh(resuming),
            world -> {
              try (TrainState state = TrainState.load(resuming, world, checkpoint)) {
                return state.bytesRead();
              }
            });

    long state = tensorBytes(checkpoint);
    assertThat(read.stream().mapToLong(Long::longValue).sum()).isBetween(state, state + state / 10);
  }

  /** Of weights and the optimizer's state, as the files' headers tell. */
  private static long tensorBytes(Path checkpoint) throws IOException {
    long bytes = 0;
    try (Stream<Path> files = Files.walk(checkpoint)) {
      for (Path path : files.filter(each -> each.toString().endsWith(".safetensors")).toList()) {
        try (SafetensorsFile file = SafetensorsFile.open(path)) {
          for (StoredTensor tensor : file.tensors().values()) {
            bytes += tensor.file().byteSize();
          }
        }
      }
    }
    return bytes;
  }

  private static void fill(FlatStateShard piece, int seed) {
    try (Scope _ = Scope.open()) {
      long count = piece.values().numel();
      float[] values = new float[(int) count];
      for (int i = 0; i < values.length; i++) {
        values[i] = seed + i * 1e-3f;
      }
      piece.values().copy_(Tensors.ofFloats(values, piece.values().device(), count));
    }
  }

  /** What the checkpointer writes, without its protocol. */
  private static void write(TrainState state, Path to, World world) {
    try (Arena arena = Arena.ofConfined()) {
      for (TensorFile file : state.files(arena)) {
        file.write(to);
      }
      world.all().barrier();
      if (world.rank() == 0) {
        if (state.weightFiles() > 1) {
          ModelWeights.writeIndex(to, Learning.EVERYTHING, state.weightFiles());
        }
        TrainingFiles.writeState(to, state.position());
      }
      world.all().barrier();
    } catch (IOException failure) {
      throw new IllegalStateException(failure);
    }
  }

  /** All that is in a checkpoint, as one rank reads it. */
  private static Map<String, float[]> read(RunConfig alone, Path checkpoint) {
    Map<String, float[]> values = new TreeMap<>();
    try (Scope _ = Scope.open();
        TrainState state = TrainState.load(alone, World.singleRank(), checkpoint)) {
      for (Parameter parameter : state.model().parameters().all()) {
        values.put(parameter.name(), Tensors.toFloats(parameter.value()));
      }
      for (FlatStateShard piece : state.optimizer().state()) {
        values.put(piece.buffer() + "@" + piece.start(), Tensors.toFloats(piece.values()));
      }
    }
    return values;
  }

  @Test
  void resume_onOtherMeshes_givesTheLossesOfOneRank() {
    assertLossesOfOneRank("checkpoint.asynchronous=true");
  }

  @Tag("slow")
  @ParameterizedTest
  @ValueSource(strings = {"checkpoint.asynchronous=false", "optimizer.algorithm=muon"})
  void resume_ofOtherRunsOnOtherMeshes_givesTheLossesOfOneRank(String setting) {
    assertLossesOfOneRank(setting);
  }

  private void assertLossesOfOneRank(String setting) {
    List<String> often = List.of("train.steps=12", setting, "checkpoint.interval=2");
    List<Double> expected = new ArrayList<>();
    List<Double> found = new ArrayList<>();
    Path control = folder.resolve("control");
    run(config(often), control, 12, false);
    Path moved = folder.resolve("moved");
    run(config(often, "parallel.tp=2"), moved, 3, false);
    run(config(often, "parallel.pp=2", "parallel.dp=2"), moved, 6, true);
    run(config(often, "parallel.tp=2", "parallel.pp=2"), moved, 8, true);
    run(config(often, "parallel.cp=2"), moved, 9, true);
    run(config(often), moved, 12, true);
    for (JsonNode line : MetricsFile.read(control.resolve("metrics.jsonl"))) {
      expected.add(line.path("loss").asDouble());
    }
    for (JsonNode line : MetricsFile.read(moved.resolve("metrics.jsonl"))) {
      found.add(line.path("loss").asDouble());
    }
    assertThat(found).hasSameSizeAs(expected);
    for (int i = 0; i < expected.size(); i++) {
      assertThat(found.get(i)).isCloseTo(expected.get(i), within(1e-5 * expected.get(i)));
    }
  }

  @ParameterizedTest
  @ValueSource(strings = {"parallel.cp=2", "parallel.cp=2 parallel.pp=2", "parallel.cp=4"})
  void evaluate_onOtherMeshes_measuresWhatOneRankDoes(String mesh) {
    Evaluation expected = evaluate(config(List.of()), World.singleRank());
    RunConfig config = config(List.of(mesh.split(" ")));
    for (Evaluation found : InProcessRanks.run(mesh(config), world -> evaluate(config, world))) {
      assertThat(found.heads().keySet()).isEqualTo(expected.heads().keySet());
      found
          .heads()
          .forEach(
              (head, quality) -> {
                HeadQuality wanted = Objects.requireNonNull(expected.heads().get(head));
                assertThat(quality.loss()).isCloseTo(wanted.loss(), withinPercentage(1e-3));
                assertThat(quality.accuracy()).isEqualTo(wanted.accuracy());
              });
      assertThat(found.bytesPerToken()).isEqualTo(expected.bytesPerToken());
    }
  }

  private static Evaluation evaluate(RunConfig config, World world) {
    try (RunData data = RunData.open(config);
        TrainState state = TrainState.initial(config, world)) {
      return new Evaluator(
              config,
              data.validation().orElseThrow(),
              _ -> 2,
              state.model(),
              world,
              new Trace.Off())
          .evaluate(0);
    }
  }

  /** Whose number of a step's samples changes with the mesh. */
  @Test
  void resume_withFillsOnMoreAndFewerReplicas_takesNoSampleTwice() {
    Path last = folder.resolve("step-0");
    List<Long> taken = Collections.synchronizedList(new ArrayList<>());
    for (int replicas : new int[] {2, 1, 2}) {
      RunConfig config =
          config(
              List.of("parallel={pp: 2, fill_warmup: 1, fill_cooldown: 1, dp: " + replicas + "}"));
      Path from = last;
      Path to = from.resolveSibling("after-" + from.getFileName());
      InProcessRanks.run(
          mesh(config),
          world -> {
            // Both stages of a pipeline take a microbatch's samples.
            SampleSource samples =
                new Noted(world.coordinate().pp() == 0 ? taken : new ArrayList<>());
            try (TrainState state =
                    Files.exists(from)
                        ? TrainState.load(config, world, from)
                        : TrainState.initial(config, world);
                StepRunner runner =
                    new StepRunner(config, samples, state, world, new Trace.Off())) {
              for (int step = 0; step < 2; step++) {
                runner.trainStep(state.step() + 1);
                state.advance(0);
              }
              write(state, to, world);
            }
            return true;
          });
      last = to;
    }
    assertThat(taken).doesNotHaveDuplicates().hasSize(2 * (4 + 2 * 4 + 4 + 2 * 2 + 4 + 2 * 4));
    assertThat(Collections.max(taken)).isEqualTo(taken.size() - 1L);
  }

  /** Samples of zeros that notes which are taken. */
  private record Noted(List<Long> taken) implements SampleSource {
    @Override
    public int sequenceLength() {
      return 16;
    }

    @Override
    public long samplesPerEpoch() {
      return 1000;
    }

    @Override
    public void sample(long index, int[] into, int offset) {
      taken.add(index);
    }
  }

  private static void run(RunConfig config, Path output, long until, boolean resume) {
    InProcessRanks.run(
        mesh(config),
        world -> {
          try (Trainer trainer =
              resume
                  ? Trainer.resume(config, output, world, false)
                  : Trainer.start(config, output, world, false)) {
            return trainer.run(_ -> {}, () -> trainer.step() >= until).step();
          }
        });
  }

  @ParameterizedTest
  @ValueSource(booleans = {false, true})
  void save_onAFullDisk_failsOnEveryRankAndLeavesTheCheckpointBefore(boolean asynchronous)
      throws IOException, InterruptedException {
    Path disk = Files.createDirectory(folder.resolve("disk"));
    assumeThat(exec("mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", disk.toString()))
        .as("needs the right to mount a tmpfs")
        .isZero();
    try {
      RunConfig config =
          config(
              List.of("parallel.pp=2", "checkpoint.keep=0", "checkpoint.interval=1"),
              "checkpoint.asynchronous=" + asynchronous,
              "logging.tensorboard=false");
      Path output = disk.resolve("run");
      assertThatThrownBy(() -> run(config, output, 30, false))
          .isInstanceOf(DistributedException.class)
          .cause()
          .isInstanceOf(CheckpointException.class)
          .hasMessageContaining("No space left")
          .hasMessageContaining("is whole; make room");
      List<CheckpointStore.Checkpoint> whole = CheckpointStore.open(output, 0).list();
      assertThat(whole).isNotEmpty();
      try (TrainState state =
          TrainState.load(config(List.of()), World.singleRank(), whole.getLast().folder())) {
        assertThat(state.step()).isEqualTo(whole.getLast().step());
      }
      try (Stream<Path> left = Files.list(output.resolve("checkpoints"))) {
        assertThat(left).hasSameSizeAs(whole);
      }
    } finally {
      assertThat(exec("umount", disk.toString())).isZero();
    }
  }

  private static int exec(String... command) throws IOException, InterruptedException {
    return new ProcessBuilder(command).inheritIO().start().waitFor();
  }

  @Test
  void load_withoutARanksFile_isRefusedByItsName() throws IOException {
    RunConfig config = config(List.of("parallel.dp=2"));
    Path checkpoint = folder.resolve("checkpoint");
    InProcessRanks.run(
        mesh(config),
        world -> {
          try (TrainState state = TrainState.initial(config, world)) {
            write(state, checkpoint, world);
          }
          return true;
        });
    Files.delete(checkpoint.resolve("training/optimizer-00002-of-00002.safetensors"));
    assertThatThrownBy(
            () -> TrainState.load(config(List.of()), World.singleRank(), checkpoint).close())
        .isInstanceOf(CheckpointException.class)
        .hasMessageContaining("optimizer-00002-of-00002.safetensors: is missing");
  }
}
