package org.eellm.checkpoint;

import java.io.File;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardCopyOption;
import java.util.ArrayList;
import java.util.Comparator;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.Optional;
import java.util.OptionalLong;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import java.util.stream.Stream;
import org.eellm.checkpoint.huggingface.HeadFiles;
import org.eellm.checkpoint.huggingface.HuggingFaceConfig;
import org.eellm.checkpoint.safetensors.CheckpointException;
import org.eellm.file.Disk;
import org.eellm.file.FileChecksum;
import org.eellm.file.IoErrors;
import org.eellm.gguf.GgufFile;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/**
 * The checkpoints of a training run: {@code RUN/checkpoints/step_0000100} and so on.
 *
 * <p>A checkpoint is whole or absent. It is written under a temporary name, every file and folder
 * is synced to the disk, and only then it gets its name; it loses its name before any of it is
 * deleted. A crash at any moment leaves the checkpoints before it as they were, and at most a
 * folder with a temporary name, which the next {@link #open} removes.
 *
 * <p>One process writes to a run at a time; any number may read.
 */
public final class CheckpointStore {
  private static final Logger LOG = LoggerFactory.getLogger(CheckpointStore.class);

  /** Where a run has them. */
  public static final String FOLDER = "checkpoints";

  private static final Pattern NAME = Pattern.compile("step_(\\d{7,18})");
  private static final String SAVING = ".saving-";
  private static final String DELETING = ".deleting-";
  private static final String DAMAGED = "damaged-";

  /**
   * A whole checkpoint.
   *
   * @param step optimizer steps made
   * @param folder a model folder with training state beside the model
   */
  public record Checkpoint(long step, Path folder) {}

  private final Path run;
  private final Path folder;
  private final int keep;

  private CheckpointStore(Path run, int keep) {
    this.run = run;
    this.folder = run.resolve(FOLDER);
    this.keep = keep;
  }

  /**
   * Opens a run's checkpoints for writing and removes what a crash may have left.
   *
   * @param run the run's output folder; need not exist yet
   * @param keep newest checkpoints kept; 0 keeps all
   * @throws CheckpointException if the folder cannot be read or leftovers cannot be removed
   */
  public static CheckpointStore open(Path run, int keep) {
    CheckpointStore store = new CheckpointStore(run, keep);
    for (Path leftover : store.children()) {
      String name = leftover.getFileName().toString();
      if (name.startsWith(SAVING) || name.startsWith(DELETING)) {
        LOG.info("removing {}, left by a run that was cut off", leftover);
        try {
          deleteTree(leftover);
        } catch (IOException failure) {
          throw new CheckpointException(
              "%s: left by a run that was cut off, cannot be removed: %s; remove it by hand"
                  .formatted(leftover, IoErrors.reason(failure)),
              failure);
        }
      }
    }
    return store;
  }

  /** A checkpoint of a run that is being written, or was when the run was cut off. */
  public static Optional<Path> unfinished(Path run) {
    return new CheckpointStore(run, 0)
        .children().stream()
            .filter(path -> path.getFileName().toString().startsWith(SAVING))
            .findFirst();
  }

  /** The folder of a step's checkpoint, whether or not it is there. */
  public static Path folder(Path run, long step) {
    return run.resolve(FOLDER).resolve(String.format(Locale.ROOT, "step_%07d", step));
  }

  /** The step that a checkpoint's name says; empty for a folder with another name. */
  public static OptionalLong step(Path checkpoint) {
    Matcher matcher = NAME.matcher(String.valueOf(checkpoint.getFileName()));
    return matcher.matches()
        ? OptionalLong.of(Long.parseLong(matcher.group(1)))
        : OptionalLong.empty();
  }

  /** The run whose checkpoint a folder is; the folder itself where it is none. */
  public static Path run(Path folder) {
    Path whole = folder.toAbsolutePath().normalize();
    Path store = whole.getParent();
    if (store != null
        && store.getParent() instanceof Path run
        && store.endsWith(FOLDER)
        && step(whole).isPresent()) {
      return run;
    }
    return whole;
  }

  /** All checkpoints, oldest first. */
  public List<Checkpoint> list() {
    return children().stream()
        .filter(Files::isDirectory)
        .flatMap(path -> step(path).stream().mapToObj(step -> new Checkpoint(step, path)))
        .sorted(Comparator.comparingLong(Checkpoint::step))
        .toList();
  }

  /** The checkpoint of the highest step. */
  public Optional<Checkpoint> latest() {
    return list().reversed().stream().findFirst();
  }

  /**
   * Takes its name from a damaged checkpoint, so that the step can be saved again; the files stay.
   *
   * @throws CheckpointException if it cannot be renamed
   */
  public void setAside(Path checkpoint) {
    Path aside = checkpoint.resolveSibling(DAMAGED + checkpoint.getFileName());
    try {
      deleteTree(aside);
      Files.move(checkpoint, aside, StandardCopyOption.ATOMIC_MOVE);
    } catch (IOException failure) {
      throw new CheckpointException(
          "%s: is damaged and cannot be renamed to %s: %s; remove it by hand"
              .formatted(checkpoint, aside.getFileName(), IoErrors.reason(failure)),
          failure);
    }
  }

  /**
   * The newest of a run's checkpoints whose model is as it was written. What is passed over for it
   * is logged.
   *
   * @throws CheckpointException if there are checkpoints and none is whole
   */
  private Optional<Path> latestWhole() {
    List<String> damages = new ArrayList<>();
    for (Checkpoint checkpoint : list().reversed()) {
      Optional<String> damage = CheckpointIntegrity.modelDamage(checkpoint.folder());
      if (damage.isEmpty()) {
        damages.forEach(passed -> logPassedOver(passed, checkpoint.folder()));
        return Optional.of(checkpoint.folder());
      }
      damages.add(damage.get());
    }
    requireWhole(damages);
    return Optional.empty();
  }

  /** Logs that an older checkpoint is taken in place of a damaged one. */
  public static void logPassedOver(String damage, Path taken) {
    LOG.warn("{}; taking the newest whole checkpoint, {}", damage, taken.getFileName());
  }

  /**
   * Refuses a run without a whole checkpoint.
   *
   * @param damages what is wrong with each, the newest first; empty if there is no checkpoint
   */
  public static void requireWhole(List<String> damages) {
    if (!damages.isEmpty()) {
      throw new CheckpointException(
          "%s; of the run's checkpoints (%d) none is whole; copy the file again, or start another run"
              .formatted(damages.getFirst(), damages.size()));
    }
  }

  /**
   * Makes the new and empty folder of a checkpoint that does not have its name yet.
   *
   * @param step optimizer steps made
   * @throws CheckpointException if the step has a checkpoint or the folder cannot be made
   */
  public PendingCheckpoint begin(long step) {
    Path target = folder(run, step);
    if (Files.exists(target)) {
      throw new CheckpointException(
          target + ": exists already; resume from it or remove it before saving that step again");
    }
    PendingCheckpoint saving =
        new PendingCheckpoint(step, target, folder.resolve(SAVING + target.getFileName()));
    try {
      Files.createDirectories(folder);
      Files.createDirectory(saving.folder());
    } catch (IOException failure) {
      throw saving.abandon(failure);
    }
    return saving;
  }

  /** A checkpoint that is being written: {@link #commit} or {@link #abandon} it. */
  public final class PendingCheckpoint {
    private final long step;
    private final Path target;
    private final Path temporary;

    private PendingCheckpoint(long step, Path target, Path temporary) {
      this.step = step;
      this.target = target;
      this.temporary = temporary;
    }

    /** Where its files are written. */
    public Path folder() {
      return temporary;
    }

    /**
     * Gives it its name, once all its files are on the disk. {@link #prune} is left to the caller.
     *
     * @param checksums those of its files that need not be computed, by their paths in it
     * @throws CheckpointException if a file cannot be written, or the checkpoint is there already
     */
    public Checkpoint commit(Map<String, FileChecksum> checksums) {
      try {
        CheckpointIntegrity.write(temporary, checksums);
        syncTree(temporary);
        Files.move(temporary, target, StandardCopyOption.ATOMIC_MOVE);
        Disk.sync(folder);
        Disk.sync(run);
      } catch (IOException | CheckpointException failure) {
        throw abandon(failure);
      }
      return new Checkpoint(step, target);
    }

    /**
     * Removes what was written of it.
     *
     * @param failure why
     * @return what to throw: says that it was not saved, why, and what is whole
     */
    public RuntimeException abandon(Exception failure) {
      removeFailed(temporary);
      return switch (failure) {
        case IOException e ->
            abandoned(
                target,
                "%s (%s)".formatted(IoErrors.reason(e), IoErrors.freeSpace(existing(folder))),
                e);
        case CheckpointException e ->
            abandoned(
                target, String.valueOf(e.getMessage()).replace(temporary + File.separator, ""), e);
        case RuntimeException e -> e;
        case Exception e -> new IllegalStateException(e);
      };
    }
  }

  private CheckpointException abandoned(Path target, String reason, Exception failure) {
    String earlier =
        latest()
            .map(latest -> latest.folder().getFileName() + " is whole")
            .orElse("there is no earlier checkpoint");
    return new CheckpointException(
        "%s: not saved: %s; %s; make room or mend that, then resume"
            .formatted(target, reason, earlier),
        failure);
  }

  private static void removeFailed(Path temporary) {
    try {
      deleteTree(temporary);
    } catch (IOException failure) {
      LOG.warn(
          "{}: cannot be removed: {}; the next start tries again",
          temporary,
          IoErrors.reason(failure));
    }
  }

  /**
   * Deletes the oldest checkpoints beyond the number to keep; what cannot be deleted is logged.
   *
   * @param saved the folder of one that stays in any case
   */
  public void prune(Path saved) {
    if (keep == 0) {
      return;
    }
    List<Checkpoint> others;
    try {
      others = list().stream().filter(checkpoint -> !checkpoint.folder().equals(saved)).toList();
    } catch (CheckpointException failure) {
      LOG.warn("no old checkpoint is deleted: {}", failure.getMessage());
      return;
    }
    for (Checkpoint old : others.subList(0, Math.max(0, others.size() - (keep - 1)))) {
      try {
        Path doomed = old.folder().resolveSibling(DELETING + old.folder().getFileName());
        Files.move(old.folder(), doomed, StandardCopyOption.ATOMIC_MOVE);
        deleteTree(doomed);
      } catch (IOException failure) {
        LOG.warn(
            "{}: cannot be deleted: {}; delete it by hand", old.folder(), IoErrors.reason(failure));
      }
    }
  }

  /**
   * The model folder that a user means: a model folder itself, a checkpoint, or a run's output
   * folder, of which the newest whole checkpoint is taken; or a GGUF file. What has checksums is
   * checked.
   *
   * @throws CheckpointException if {@code path} is none of these, or damaged
   */
  public static Path resolveModel(Path path) {
    Path found = findModel(path);
    if (found.equals(path)) { // a run's checkpoint was taken because it is whole
      CheckpointIntegrity.requireModel(found);
    }
    return found;
  }

  /** As {@link #resolveModel}, without checking a model folder that is named itself. */
  static Path findModel(Path path) {
    if (GgufFile.isOne(path)) {
      return path;
    }
    requireFolder(path, "a model folder or a run's output");
    if (Files.exists(path.resolve(HuggingFaceConfig.CONFIG))) {
      return path;
    }
    Optional<Path> latest = new CheckpointStore(path, 0).latestWhole();
    if (latest.isPresent() && Files.exists(latest.get().resolve(HuggingFaceConfig.CONFIG))) {
      return latest.get(); // perhaps with a draft head beside it
    }
    if (HeadFiles.isIn(latest.orElse(path))) {
      throw new CheckpointException(
          path + ": has heads and no trunk; give --model their trunk, and --heads this folder");
    }
    if (AdapterFiles.isIn(latest.orElse(path))) {
      throw new CheckpointException(
          path
              + ": has an adapter and no model; give --model its model, and --adapter this folder");
    }
    if (DraftHeadFiles.isIn(latest.orElse(path))) {
      throw new CheckpointException(
          path
              + ": has a draft head and no model; put it beside its model with eellm"
              + " add-draft-head");
    }
    return latest.orElseThrow(
        () ->
            new CheckpointException(
                "%s: has neither config.json nor checkpoints/step_*; give a model folder or a run's output"
                    .formatted(path)));
  }

  /**
   * The folder of heads that a user means: one with {@code exits.json}, or the output folder of a
   * run that tuned heads, of which the newest checkpoint is taken.
   *
   * @throws CheckpointException if {@code path} is neither
   */
  static Path resolveHeads(Path path) {
    return resolvePart(path, HeadFiles.LAYOUT, "a folder of heads");
  }

  /** Likewise the folder of an adapter, one with {@code adapter_config.json}. */
  static Path resolveAdapter(Path path) {
    return resolvePart(path, AdapterFiles.CONFIG, "an adapter's folder");
  }

  /** Likewise the folder of a draft head, one with {@code draft_head.json}. */
  static Path resolveDraftHead(Path path) {
    return resolvePart(path, DraftHeadFiles.DESCRIPTION, "a draft head's folder");
  }

  private static Path resolvePart(Path path, String file, String what) {
    requireFolder(path, what + ", or the output of eellm tune");
    if (Files.exists(path.resolve(file))) {
      CheckpointIntegrity.requireModel(path);
      return path;
    }
    return new CheckpointStore(path, 0)
        .latestWhole()
        .filter(latest -> Files.exists(latest.resolve(file)))
        .orElseThrow(
            () ->
                new CheckpointException(
                    "%s: has no %s; give %s, or the output of eellm tune"
                        .formatted(path, file, what)));
  }

  private static void requireFolder(Path path, String remedy) {
    if (!Files.isDirectory(path)) {
      throw new CheckpointException(
          "%s: %s; give %s"
              .formatted(path, Files.exists(path) ? "is a file" : "no such folder", remedy));
    }
  }

  private List<Path> children() {
    if (!Files.exists(folder)) {
      return List.of();
    }
    try (Stream<Path> children = Files.list(folder)) {
      return children.toList();
    } catch (IOException failure) {
      throw CheckpointException.unreadable(folder, failure);
    }
  }

  /** The path or the nearest folder above it that exists. */
  private static Path existing(Path path) {
    Path existing = path.toAbsolutePath();
    while (!Files.exists(existing) && existing.getParent() != null) {
      existing = existing.getParent();
    }
    return existing;
  }

  private static void syncTree(Path root) throws IOException {
    for (Path path : tree(root)) {
      Disk.sync(path);
    }
  }

  private static void deleteTree(Path root) throws IOException {
    for (Path path : tree(root).reversed()) {
      Files.delete(path);
    }
  }

  /** A folder and all in it, a folder before what it holds; empty if there is no such folder. */
  private static List<Path> tree(Path root) throws IOException {
    if (!Files.exists(root)) {
      return List.of();
    }
    try (Stream<Path> paths = Files.walk(root)) {
      return paths.toList();
    } catch (UncheckedIOException failure) {
      throw failure.getCause();
    }
  }
}
