package org.eellm.train;

import java.io.IOException;
import java.lang.foreign.Arena;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.OptionalInt;
import java.util.SequencedMap;
import java.util.concurrent.CompletableFuture;
import org.eellm.checkpoint.AdapterFiles;
import org.eellm.checkpoint.CheckpointIntegrity;
import org.eellm.checkpoint.CheckpointStore;
import org.eellm.checkpoint.CheckpointStore.PendingCheckpoint;
import org.eellm.checkpoint.DraftHeadFiles;
import org.eellm.checkpoint.ModelFolder;
import org.eellm.checkpoint.ModelWeights;
import org.eellm.checkpoint.TrainingFiles;
import org.eellm.checkpoint.huggingface.HuggingFaceConfig;
import org.eellm.checkpoint.safetensors.CheckpointException;
import org.eellm.checkpoint.safetensors.TensorFile;
import org.eellm.config.Learning;
import org.eellm.config.TuneConfig;
import org.eellm.data.tokenizer.Tokenizer;
import org.eellm.distributed.World;
import org.eellm.file.FileChecksum;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/**
 * Saves a run's checkpoints, all ranks together: the first makes the folder, every rank writes its
 * files into it, and only when all have done so does it get its name. A failure anywhere is
 * everybody's failure, and nothing of the checkpoint remains.
 *
 * <p>With {@code checkpoint.asynchronous} the ranks copy their tensors and write the copies while
 * training goes on; {@link #isWritten} says when {@link #finish} has nothing left to wait for here.
 *
 * <p>Every rank calls the same methods in the same order.
 */
final class Checkpointer implements AutoCloseable {
  private static final Logger LOG = LoggerFactory.getLogger(Checkpointer.class);

  private final RunFolder folder;
  private final RunData data;
  private final World world;
  private final boolean asynchronous;
  private final Optional<CheckpointStore> store;

  /** Checksum of the trunk that is tuned, on the first rank. */
  private final Optional<String> trunk;

  /** When this run began, or last began to save; by {@link System#nanoTime}. */
  private long saved = System.nanoTime();

  private Optional<Path> latest;
  private Optional<Writing> writing = Optional.empty();

  /** Of old checkpoints, on the first rank: large files take a while. */
  private CompletableFuture<Void> deletion = CompletableFuture.completedFuture(null);

  /**
   * A checkpoint under way.
   *
   * @param target its name to be
   * @param saving its folder, on the first rank
   * @param weightFiles of all ranks
   * @param copies memory of what is written
   * @param files this rank's part
   * @param copy that training waits for before it changes anything
   * @param waited seconds that training stood still for it at first
   */
  private record Writing(
      Path target,
      Optional<PendingCheckpoint> saving,
      int weightFiles,
      Arena copies,
      CompletableFuture<Written> files,
      StateCopy copy,
      double waited) {}

  /**
   * The outcome of writing a rank's part of a checkpoint.
   *
   * @param checksums of its files, by their paths in the checkpoint
   * @param failure what went wrong, if anything did
   * @param seconds that writing took
   */
  private record Written(
      SequencedMap<String, FileChecksum> checksums, Optional<Exception> failure, double seconds) {}

  /** The checkpoints of a run, of which the ranks look for the newest. */
  Checkpointer(RunFolder folder, RunData data, World world) {
    this.folder = folder;
    this.data = data;
    this.world = world;
    this.asynchronous = data.config().checkpoint().asynchronous();
    int keep = data.config().checkpoint().keep();
    store =
        world.rank() == 0
            ? Optional.of(CheckpointStore.open(folder.path(), keep))
            : Optional.empty();
    latest = latestWhole();
    trunk =
        store
            .flatMap(_ -> data.config().tune().model())
            .map(model -> ModelFolder.find(Path.of(model)).trunkChecksum());
  }

  /**
   * The newest whole checkpoint; the ranks check it together. Those that are damaged and newer are
   * set aside.
   *
   * @throws CheckpointException if there are checkpoints and none is whole
   */
  private Optional<Path> latestWhole() {
    List<Path> all =
        lines(
                store.stream()
                    .flatMap(present -> present.list().reversed().stream())
                    .map(checkpoint -> checkpoint.folder().toString())
                    .toList())
            .getFirst()
            .stream()
            .map(Path::of)
            .toList();
    List<String> damages = new ArrayList<>();
    for (Path checkpoint : all) {
      List<String> damage =
          lines(
                  CheckpointIntegrity.damage(checkpoint, world.rank(), world.mesh().size()).stream()
                      .toList())
              .stream()
              .flatMap(List::stream)
              .toList();
      if (damage.isEmpty()) {
        setAside(all.subList(0, damages.size()), damages, checkpoint);
        return Optional.of(checkpoint);
      }
      damages.add(damage.getFirst());
    }
    CheckpointStore.requireWhole(damages);
    return Optional.empty();
  }

  /** On the first rank says what is passed over, and takes the names from it. */
  private void setAside(List<Path> damaged, List<String> damages, Path taken) {
    store.ifPresent(
        present -> {
          damages.forEach(damage -> CheckpointStore.logPassedOver(damage, taken));
          damaged.forEach(present::setAside);
        });
  }

  /** The newest whole checkpoint. */
  Optional<Path> latest() {
    return latest;
  }

  /**
   * Saves a checkpoint unless this step has one, after any that is still being written; if
   * asynchronous, it may be incomplete until {@link #finish}.
   *
   * @throws CheckpointException if any rank's part cannot be written
   */
  void save(TrainState state) {
    finish();
    Path target = CheckpointStore.folder(folder.path(), state.step());
    if (latest.filter(target::equals).isPresent()) {
      return;
    }
    long start = System.nanoTime();
    saved = start;
    Optional<PendingCheckpoint> saving = begin(state.step());
    String into =
        world
            .all()
            .gatherTexts(saving.map(begun -> begun.folder().toString()).orElse(""))
            .getFirst();
    Arena copies = Arena.ofShared();
    List<TensorFile> files = state.files(copies);
    TrainState.Position position = state.position();
    StateCopy copy = new StateCopy();
    CompletableFuture<Written> written;
    if (asynchronous) {
      state.lendTo(copy);
      written =
          CompletableFuture.supplyAsync(
              () -> writeCopy(Path.of(into), files, copies, copy, position),
              Checkpointer::inBackground);
    } else {
      written = CompletableFuture.completedFuture(write(Path.of(into), files, position));
    }
    writing =
        Optional.of(
            new Writing(
                target, saving, state.weightFiles(), copies, written, copy, secondsSince(start)));
    if (!asynchronous) {
      finish();
    }
  }

  private Written writeCopy(
      Path into,
      List<TensorFile> files,
      Arena copies,
      StateCopy copy,
      TrainState.Position position) {
    List<TensorFile> copied;
    try {
      copied = files.stream().map(file -> file.copied(copies)).toList();
    } catch (OutOfMemoryError e) {
      return new Written(
          new LinkedHashMap<>(),
          Optional.of(
              new CheckpointException(
                  into + ": no memory for a copy of the state; use checkpoint.asynchronous: false",
                  e)),
          0);
    } finally {
      copy.complete();
    }
    return write(into, copied, position);
  }

  private static double secondsSince(long start) {
    return (System.nanoTime() - start) / 1e9;
  }

  private static void inBackground(Runnable writing) {
    Thread.ofPlatform().daemon().name("eellm-checkpoint").start(writing);
  }

  /** On the first rank the new checkpoint's folder; its failure is everybody's. */
  private Optional<PendingCheckpoint> begin(long step) {
    Optional<PendingCheckpoint> saving;
    try {
      folder.confirmLock();
      saving = store.map(present -> present.begin(step));
    } catch (RuntimeException e) {
      throw onEveryRank(e);
    }
    awaitFirstRank();
    return saving;
  }

  /** Writes this rank's files. */
  private Written write(Path into, List<TensorFile> files, TrainState.Position position) {
    long start = System.nanoTime();
    SequencedMap<String, FileChecksum> checksums = new LinkedHashMap<>();
    try {
      for (TensorFile file : files) {
        checksums.put(file.name(), file.write(into));
      }
      if (world.rank() == 0) {
        TrainingFiles.writeState(into, position);
        TrainingFiles.writeDatasets(into, data.checksums());
        data.writeBlend(into, position.samples());
        describe(into);
      }
      return new Written(checksums, Optional.empty(), secondsSince(start));
    } catch (IOException | RuntimeException failure) {
      return new Written(checksums, Optional.of(failure), secondsSince(start));
    }
  }

  /** Whether it is time for another checkpoint, by this rank's clock. */
  boolean isDue() {
    double minutes = data.config().checkpoint().minutes();
    return minutes > 0 && secondsSince(saved) >= 60 * minutes;
  }

  /** Whether this rank has nothing to wait for in {@link #finish}, and there is something to do. */
  boolean isWritten() {
    return writing.filter(present -> present.files().isDone()).isPresent();
  }

  /**
   * Completes the checkpoint that is being written, if there is one.
   *
   * @throws CheckpointException if any rank's part could not be written
   */
  void finish() {
    deletion.join(); // the next checkpoint may need the room
    if (writing.isEmpty()) {
      return;
    }
    Writing ended = writing.get();
    writing = Optional.empty();
    long start = System.nanoTime();
    Written written = ended.files().join();
    Optional<Exception> own = written.failure();
    ended.copies().close();
    List<String> all = world.all().gatherTexts(own.map(Checkpointer::line).orElse(""));
    Map<String, FileChecksum> checksums = gatherChecksums(written.checksums());
    Optional<Exception> failure = own.isPresent() && world.rank() == 0 ? own : foreignFailure(all);
    Optional<RuntimeException> end =
        ended
            .saving()
            .flatMap(
                saving ->
                    failure.isPresent()
                        ? failure.map(saving::abandon)
                        : commit(saving, ended.weightFiles(), checksums));
    if (end.isPresent()) {
      throw onEveryRank(end.get());
    }
    awaitFirstRank();
    latest = Optional.of(ended.target());
    store.ifPresent(
        present ->
            deletion =
                CompletableFuture.runAsync(
                    () -> present.prune(ended.target()),
                    asynchronous ? Checkpointer::inBackground : Runnable::run));
    if (world.rank() == 0) {
      LOG.info(
          "{}: written in {} s, for which training waited {} s",
          ended.target(),
          "%.2f".formatted(written.seconds()),
          "%.2f".formatted(ended.waited() + ended.copy().waited() + secondsSince(start)));
    }
  }

  private static Optional<Exception> foreignFailure(List<String> reasons) {
    for (int rank = 0; rank < reasons.size(); rank++) {
      if (!reasons.get(rank).isEmpty()) {
        return Optional.of(
            new CheckpointException("rank %d: %s".formatted(rank, reasons.get(rank))));
      }
    }
    return Optional.empty();
  }

  /** Commits a checkpoint or abandons it; gives what to throw. */
  private Optional<RuntimeException> commit(
      PendingCheckpoint saving, int weightFiles, Map<String, FileChecksum> checksums) {
    try {
      folder.confirmLock();
    } catch (TrainException e) {
      return Optional.of(e); // whose the files of that name are is not known
    }
    Learning learning = data.config().tune().learning();
    try {
      if (weightFiles > 1) {
        ModelWeights.writeIndex(saving.folder(), learning, weightFiles).forEach(checksums::remove);
      }
    } catch (IOException | CheckpointException e) {
      return Optional.of(saving.abandon(e));
    }
    try {
      saving.commit(checksums);
      return Optional.empty();
    } catch (CheckpointException e) {
      return Optional.of(e);
    }
  }

  /** Gives up a checkpoint that is still being written. */
  @Override
  public void close() {
    deletion.join();
    writing.ifPresent(
        left -> {
          left.files().join();
          left.copies().close();
          left.saving()
              .ifPresent(
                  saving -> saving.abandon(new CheckpointException("the run ended before it")));
        });
    writing = Optional.empty();
  }

  /** Tells all ranks of this one's failure, which the others learn of if it is the first. */
  private RuntimeException onEveryRank(RuntimeException failure) {
    world.all().gatherTexts(line(failure));
    return failure;
  }

  /** Waits for word from the first rank, and throws its failure if it has one. */
  private void awaitFirstRank() {
    String reason = world.all().gatherTexts("").getFirst();
    if (!reason.isEmpty()) {
      throw new CheckpointException(reason);
    }
  }

  /** Writes the files beside the weights: config and tokenizer, or what heads or changes are. */
  private void describe(Path into) throws IOException {
    TuneConfig tune = data.config().tune();
    if (trunk.isPresent() && tune.learning() instanceof Learning.Adapter(TuneConfig.Lora lora)) {
      AdapterFiles.describe(
          into, lora, data.config().model(), tune.model().orElseThrow(), trunk.get());
      return;
    }
    if (trunk.isPresent() && tune.learning() == Learning.DRAFT_HEAD) {
      DraftHeadFiles.describe(into, trunk.get());
      return;
    }
    if (trunk.isPresent()) {
      ModelFolder.describeHeads(into, data.config().architecture().exits(), trunk.get());
      return;
    }
    Optional<Tokenizer> tokenizer = data.tokenizer();
    new HuggingFaceConfig(
            data.config().architecture(),
            tokenizer.map(Tokenizer::beginningOfSequence).orElse(OptionalInt.empty()),
            tokenizer.map(Tokenizer::endOfDocument).stream().toList())
        .write(into);
    tokenizer.ifPresent(present -> present.save(into));
  }

  private static String line(Exception failure) {
    return String.valueOf(failure.getMessage());
  }

  private Map<String, FileChecksum> gatherChecksums(Map<String, FileChecksum> mine) {
    Map<String, FileChecksum> all = new HashMap<>();
    List<String> lines =
        mine.entrySet().stream()
            .map(
                file ->
                    String.join(
                        " ",
                        file.getValue().crc(),
                        Long.toString(file.getValue().bytes()),
                        file.getKey()))
            .toList();
    for (List<String> ofRank : lines(lines)) {
      for (String line : ofRank) {
        String[] parts = line.split(" ", 3);
        all.put(parts[2], new FileChecksum(Long.parseLong(parts[1]), parts[0]));
      }
    }
    return all;
  }

  /** All ranks' lines. */
  private List<List<String>> lines(List<String> mine) {
    return world.all().gatherTexts(String.join("\n", mine)).stream()
        .map(text -> text.lines().toList())
        .toList();
  }
}
