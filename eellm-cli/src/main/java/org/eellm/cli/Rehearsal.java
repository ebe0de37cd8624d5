package org.eellm.cli;

import java.io.IOException;
import java.lang.foreign.MemorySegment;
import java.net.ConnectException;
import java.net.HttpURLConnection;
import java.net.ServerSocket;
import java.net.URI;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.OptionalInt;
import java.util.SortedMap;
import java.util.SplittableRandom;
import java.util.TreeMap;
import org.eellm.checkpoint.CheckpointIntegrity;
import org.eellm.checkpoint.CheckpointStore;
import org.eellm.checkpoint.DraftTable;
import org.eellm.checkpoint.DraftVocabulary;
import org.eellm.checkpoint.ModelFolder;
import org.eellm.checkpoint.huggingface.HuggingFaceConfig;
import org.eellm.checkpoint.safetensors.SafetensorsType;
import org.eellm.checkpoint.safetensors.SafetensorsWriter;
import org.eellm.checkpoint.safetensors.TensorSource;
import org.eellm.config.Architecture;
import org.eellm.config.ConfigFile;
import org.eellm.data.Progress;
import org.eellm.data.corpus.Corpus;
import org.eellm.data.tokenizer.BpeTrainer;
import org.eellm.decode.exit.Calibration;
import org.eellm.decode.exit.Gate;
import org.eellm.model.parameter.ParameterSpec;
import org.jspecify.annotations.Nullable;

/**
 * Work that the launcher runs once after a build, so that Java can store the classes for all starts
 * to come (class data sharing, JEP 310): the help, texts of a small model with random weights, and
 * a server of it. The model stays: with it the launcher makes an ahead-of-time cache (JEP 483).
 */
final class Rehearsal {
  private static final String TEXT = "the cat and the dog and the bird and the cat and the end\n";
  private static final double LARGEST = 0.1; // weight
  private static final Duration READY = Duration.ofMinutes(1);

  private Rehearsal() {}

  /**
   * @param args a folder for the model, which is there and empty
   */
  public static void main(String[] args) throws IOException {
    ConsoleLog.choose();
    Path folder = Path.of(args[0]);
    writeModel(folder);
    run("--help");
    run("generate", "--model", folder.toString(), "--prompt", TEXT, "--max-tokens", "150");
    for (String mode : List.of("full", "early-exit")) {
      run("generate", "--model", folder.toString(), "--prompt", TEXT, "--mode", mode);
    }
    serve(folder);
  }

  /** Serves, answers a chat, and ends as a user ends it. */
  private static void serve(Path model) throws IOException {
    int port;
    try (ServerSocket free = new ServerSocket(0)) {
      port = free.getLocalPort();
    }
    Thread client = Thread.ofPlatform().start(() -> chat("http://127.0.0.1:" + port));
    run("serve", "--model", model.toString(), "--port", Integer.toString(port));
    try {
      client.join();
    } catch (InterruptedException e) {
      throw new IllegalStateException(e);
    }
  }

  private static void chat(String server) {
    try {
      long end = System.nanoTime() + READY.toNanos();
      while (status(server + "/health", null) != 200) {
        if (System.nanoTime() > end) {
          throw new IOException(server + " was not ready after " + READY);
        }
        Thread.sleep(20);
      }
      status(server + "/", null);
      status(
          server + "/v1/chat/completions",
          "{\"messages\": [{\"role\": \"user\", \"content\": \"the cat\"}], \"max_tokens\": 4}");
      // The shell's own, since a small system has no other.
      new ProcessBuilder("sh", "-c", "kill -TERM " + ProcessHandle.current().pid()).start();
    } catch (IOException | InterruptedException e) {
      e.printStackTrace();
      System.exit(1);
    }
  }

  /** Of the answer to a GET, or to a POST of a body; 0 if there is none. */
  private static int status(String url, @Nullable String body) throws IOException {
    HttpURLConnection connection = (HttpURLConnection) URI.create(url).toURL().openConnection();
    try {
      if (body != null) {
        connection.setDoOutput(true);
        connection.setRequestProperty("Content-Type", "application/json");
        connection.getOutputStream().write(body.getBytes(StandardCharsets.UTF_8));
      }
      return connection.getResponseCode();
    } catch (ConnectException e) {
      return 0;
    } finally {
      connection.disconnect();
    }
  }

  private static void run(String... arguments) {
    int exitCode = Main.run(RootCommand.commandLine(arguments), arguments);
    if (exitCode != 0) {
      System.exit(exitCode);
    }
  }

  /** A run with all the files that {@code eellm quickstart} leaves beside the weights. */
  private static void writeModel(Path run) throws IOException {
    Path folder = Files.createDirectories(CheckpointStore.folder(run, 1));
    Architecture architecture =
        ConfigFile.preset("quickstart", List.of("model.vocab_size=320")).architecture();
    new HuggingFaceConfig(architecture, OptionalInt.empty(), List.of()).write(folder);
    BpeTrainer.train(Corpus.of(List.of(TEXT)), 260, 1, Progress.NONE).save(folder);
    SplittableRandom random = new SplittableRandom(1);
    List<TensorSource> tensors = new ArrayList<>();
    for (ParameterSpec spec : ParameterSpec.of(architecture)) {
      ByteBuffer values = ByteBuffer.allocate(Math.toIntExact(2 * spec.numel()));
      values.order(ByteOrder.LITTLE_ENDIAN);
      while (values.hasRemaining()) {
        float value = (float) random.nextDouble(-LARGEST, LARGEST);
        values.putShort((short) (Float.floatToIntBits(value) >>> Short.SIZE));
      }
      tensors.add(
          TensorSource.of(
              spec.name(),
              SafetensorsType.BF16,
              spec.shape(),
              MemorySegment.ofArray(values.array())));
    }
    SafetensorsWriter.write(folder.resolve("model.safetensors"), Map.of("format", "pt"), tensors);
    DraftTable.count(new int[] {0, 1, 2, 0, 1, 2}, 2).write(folder);
    CheckpointIntegrity.write(folder, Map.of());
    new DraftVocabulary(List.of(0, 1, 2)).write(folder);
    SortedMap<Integer, Double> thresholds = new TreeMap<>();
    SortedMap<Integer, Gate> gates = new TreeMap<>();
    for (int layer : architecture.exits().layers()) {
      thresholds.put(layer, 0.5);
      gates.put(layer, new Gate(0, 1, 1, new float[architecture.model().hiddenSize()]));
    }
    new Calibration(new Calibration.OfGates(gates), thresholds)
        .write(folder.resolve(ModelFolder.CALIBRATION));
  }
}
