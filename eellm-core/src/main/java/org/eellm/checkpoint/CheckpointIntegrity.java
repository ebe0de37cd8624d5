package org.eellm.checkpoint;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardCopyOption;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.Set;
import java.util.TreeMap;
import java.util.TreeSet;
import java.util.function.Consumer;
import java.util.function.Predicate;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import java.util.stream.Stream;
import org.eellm.checkpoint.safetensors.CheckpointException;
import org.eellm.checkpoint.safetensors.JsonFiles;
import org.eellm.checkpoint.safetensors.SafetensorsFile;
import org.eellm.file.ChecksumFile;
import org.eellm.file.FileChecksum;
import org.eellm.file.IoErrors;

/**
 * Whether the files of a checkpoint or a model folder are as they were written. {@value #NAME} has
 * the checksums of all of them but the list of drafts, example prompts and the calibration, which
 * may be written anew. Of a folder without one, as earlier versions and other tools write it, only
 * the form of the files can be checked.
 */
public final class CheckpointIntegrity {
  /** No name in {@code *.json}: people copy those when they make a model of a checkpoint. */
  static final String NAME = "checksums.txt";

  private static final Set<String> CHANGING =
      Set.of(DraftVocabulary.FILE, ExamplePrompts.FILE, ModelFolder.CALIBRATION);

  /** A file of several. */
  private static final Pattern NUMBERED = Pattern.compile("-(\\d{5})-of-\\d{5}\\.");

  private static final String REMEDY =
      "; copy the file again, or remove %s to take the files as they are".formatted(NAME);

  private CheckpointIntegrity() {}

  /**
   * Writes the checksums of all files in a folder.
   *
   * @param known those that need not be computed, by the files' paths in the folder
   * @throws CheckpointException if one of these is not there
   */
  public static void write(Path folder, Map<String, FileChecksum> known) throws IOException {
    Map<String, FileChecksum> sums = new TreeMap<>();
    for (String name : files(folder)) {
      FileChecksum sum = known.get(name);
      sums.put(name, sum == null ? FileChecksum.of(folder.resolve(name)) : sum);
    }
    for (String name : new TreeSet<>(known.keySet())) {
      if (!sums.containsKey(name)) {
        throw new CheckpointException(
            "%s: a rank has written it, and it is not here; give all ranks one shared --output"
                .formatted(folder.resolve(name)));
      }
    }
    new ChecksumFile(folder.resolve(NAME), new TreeMap<>(sums)).write();
  }

  /** Lists a file that a checkpoint has got since, if there is a list. */
  static void add(Path folder, String name) throws IOException {
    FileChecksum sum = FileChecksum.of(folder.resolve(name));
    change(folder, sums -> sums.put(name, sum));
  }

  /** Takes a file off the list, before it changes. */
  static void forget(Path folder, String name) throws IOException {
    change(folder, sums -> sums.remove(name));
  }

  private static void change(Path folder, Consumer<Map<String, FileChecksum>> how)
      throws IOException {
    Path path = folder.resolve(NAME);
    if (!Files.exists(path)) {
      return;
    }
    Map<String, FileChecksum> sums =
        new TreeMap<>(
            ChecksumFile.read(path)
                .orElseThrow(
                    () -> new CheckpointException(path + ": is not as it was written" + REMEDY))
                .files());
    how.accept(sums);
    Path part = folder.resolve(NAME + ".part");
    new ChecksumFile(part, new TreeMap<>(sums)).write();
    Files.move(part, path, StandardCopyOption.REPLACE_EXISTING);
  }

  /**
   * Refuses a model folder whose model is not as it was written.
   *
   * @throws CheckpointException that names the file
   */
  static void requireModel(Path folder) {
    if (Files.exists(folder.resolve(NAME))) {
      damage(folder, CheckpointIntegrity::isOfModel)
          .ifPresent(
              damage -> {
                throw new CheckpointException(damage + REMEDY);
              });
    }
  }

  /** The first damage to the model in a checkpoint, in a line; empty if there is none. */
  static Optional<String> modelDamage(Path checkpoint) {
    return damage(checkpoint, CheckpointIntegrity::isOfModel);
  }

  private static boolean isOfModel(String name) {
    return !name.startsWith(TrainingFiles.FOLDER + "/");
  }

  /**
   * The first damage to a checkpoint, in a line; empty if there is none. The ranks that ask share
   * the files out: each takes the one of its number, which it reads again to go on from it.
   */
  public static Optional<String> damage(Path checkpoint, int rank, int ranks) {
    return damage(checkpoint, name -> Math.floorMod(number(name), ranks) == rank);
  }

  /** Which of several files that ranks wrote this is, from 0. */
  private static int number(String name) {
    Matcher matcher = NUMBERED.matcher(name);
    return matcher.find() ? Integer.parseInt(matcher.group(1)) - 1 : 0;
  }

  private static Optional<String> damage(Path folder, Predicate<String> asked) {
    if (!ChecksumFile.isWanted()) {
      return Optional.empty();
    }
    Path path = folder.resolve(NAME);
    try {
      if (!Files.exists(path)) {
        return files(folder).stream()
            .filter(asked)
            .flatMap(name -> malformed(folder.resolve(name)).stream())
            .findFirst();
      }
      Optional<ChecksumFile> sums = ChecksumFile.read(path);
      return sums.isEmpty()
          ? Optional.of(path + ": is not as it was written")
          : sums.get().firstDamage(sums.get().files().keySet().stream().filter(asked).toList());
    } catch (IOException failure) {
      return Optional.of("%s: cannot be read: %s".formatted(path, IoErrors.reason(failure)));
    }
  }

  /** The error in a file's form, if there is one. */
  private static Optional<String> malformed(Path file) {
    String name = file.getFileName().toString();
    try {
      if (name.endsWith(".safetensors")) {
        SafetensorsFile.open(file).close();
      } else if (name.endsWith("config.json") || name.endsWith("state.json")) {
        JsonFiles.read(file);
      }
      return Optional.empty();
    } catch (CheckpointException failure) {
      return Optional.of(String.valueOf(failure.getMessage()));
    }
  }

  /** The files of a folder that have checksums, by their paths in it, in order. */
  private static List<String> files(Path folder) throws IOException {
    List<String> names = new ArrayList<>();
    try (Stream<Path> paths = Files.walk(folder)) {
      for (Path path : paths.filter(Files::isRegularFile).sorted().toList()) {
        String name = folder.relativize(path).toString().replace('\\', '/');
        if (!name.equals(NAME) && !CHANGING.contains(name)) {
          names.add(name);
        }
      }
    }
    return names;
  }
}
