package org.eellm.train;

import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Path;
import java.util.List;
import java.util.Optional;
import java.util.OptionalInt;
import org.eellm.checkpoint.CheckpointException;
import org.eellm.checkpoint.CheckpointStore;
import org.eellm.checkpoint.HuggingFaceConfig;
import org.eellm.data.Tokenizer;
import org.eellm.distributed.World;

/**
 * Saves a run's checkpoints, all ranks together: the first makes the folder, every rank writes its
 * part into it, and only when all have done so does it get its name. A failure anywhere is
 * everybody's failure, and nothing of the checkpoint remains.
 */
final class Checkpointer {
  private final RunFolder folder;
  private final RunData data;
  private final World world;
  private final Optional<CheckpointStore> store;
  private Optional<Path> latest;

  private Checkpointer(
      RunFolder folder, RunData data, World world, Optional<CheckpointStore> store) {
    this.folder = folder;
    this.data = data;
    this.world = world;
    this.store = store;
    String path = store.flatMap(CheckpointStore::latest).map(c -> c.folder().toString()).orElse("");
    String first = share(path).getFirst();
    latest = first.isEmpty() ? Optional.empty() : Optional.of(Path.of(first));
  }

  /** The checkpoints of a run. Every rank calls this. */
  static Checkpointer open(RunFolder folder, RunData data, World world) {
    int keep = data.config().checkpoint().keep();
    Optional<CheckpointStore> store =
        world.rank() == 0
            ? Optional.of(CheckpointStore.open(folder.path(), keep))
            : Optional.empty();
    return new Checkpointer(folder, data, world, store);
  }

  /** The newest checkpoint. */
  Optional<Path> latest() {
    return latest;
  }

  /**
   * Saves a checkpoint unless this step has one. Every rank calls this.
   *
   * @throws CheckpointException if any rank's part cannot be written
   */
  void save(RunState state) {
    Path target = CheckpointStore.folder(folder.path(), state.step());
    if (latest.filter(target::equals).isPresent()) {
      return;
    }
    if (store.isPresent()) {
      lead(store.get(), state);
    } else {
      follow(state);
    }
    latest = Optional.of(target);
  }

  /** The first rank's part: {@code ok folder}, or {@code no reason}, goes to the others. */
  private void lead(CheckpointStore checkpoints, RunState state) {
    boolean[] announced = {false};
    Optional<RuntimeException> failure = Optional.empty();
    try {
      checkpoints.save(
          state.step(),
          into -> {
            announced[0] = true;
            share("ok " + into);
            agree(
                attempt(
                    () -> {
                      state.save(into);
                      describe(into);
                    }));
          });
    } catch (RuntimeException e) {
      failure = Optional.of(e);
    }
    String reason = failure.map(Throwable::getMessage).orElse("");
    if (!announced[0]) {
      share("no " + reason);
    }
    share(reason); // The others wait until it has its name.
    if (failure.isPresent()) {
      throw failure.get();
    }
  }

  private void follow(RunState state) {
    String word = share("").getFirst();
    if (word.startsWith("ok ")) {
      share(
          attempt(() -> state.save(Path.of(word.substring(3)))).map(Checkpointer::line).orElse(""));
    }
    String reason = share("").getFirst();
    if (!reason.isEmpty()) {
      throw new CheckpointException(reason);
    }
  }

  /** Ends the writing: fails if any rank failed. */
  private void agree(Optional<Exception> own) throws IOException {
    List<String> all = share(own.map(Checkpointer::line).orElse(""));
    if (own.isPresent()) {
      switch (own.get()) {
        case IOException failure -> throw failure;
        case RuntimeException failure -> throw failure;
        case Exception failure -> throw new IllegalStateException(failure);
      }
    }
    for (int rank = 0; rank < all.size(); rank++) {
      if (!all.get(rank).isEmpty()) {
        throw new CheckpointException("rank %d: %s".formatted(rank, all.get(rank)));
      }
    }
  }

  /** What belongs to the model beside its weights. */
  private void describe(Path into) throws IOException {
    Optional<Tokenizer> tokenizer = data.tokenizer();
    new HuggingFaceConfig(
            data.config().architecture(),
            tokenizer.map(Tokenizer::beginningOfSequence).orElse(OptionalInt.empty()),
            tokenizer.map(Tokenizer::endOfDocument).stream().toList())
        .write(into);
    tokenizer.ifPresent(present -> present.save(into));
  }

  private interface Writing {
    void run() throws IOException;
  }

  /** What went wrong, if anything did. */
  private static Optional<Exception> attempt(Writing writing) {
    try {
      writing.run();
      return Optional.empty();
    } catch (IOException | RuntimeException failure) {
      return Optional.of(failure);
    }
  }

  private static String line(Exception failure) {
    return String.valueOf(failure.getMessage());
  }

  private List<String> share(String mine) {
    return world.all().gatherBytes(mine.getBytes(StandardCharsets.UTF_8)).stream()
        .map(bytes -> new String(bytes, StandardCharsets.UTF_8))
        .toList();
  }
}
