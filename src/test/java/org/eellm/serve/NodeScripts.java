package org.eellm.serve;

import static org.junit.jupiter.api.Assumptions.assumeTrue;

import com.fasterxml.jackson.databind.JsonNode;
import java.io.File;
import java.io.IOException;
import java.io.InputStream;
import java.io.UncheckedIOException;
import java.lang.ProcessBuilder.Redirect;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardCopyOption;
import java.util.ArrayList;
import java.util.List;
import java.util.Optional;
import java.util.concurrent.TimeUnit;

/** Scripts for Node.js with what npm installs for them, in {@code target/clients}. */
final class NodeScripts {
  private static final Path FOLDER = Path.of("target/clients").toAbsolutePath();

  private NodeScripts() {}

  /** Installs; a test that needs it is skipped where Node.js, npm or its packages are absent. */
  static void install() {
    assumeTrue(find("node").isPresent() && find("npm").isPresent(), "skipped: needs node and npm");
    try {
      Files.createDirectories(FOLDER);
      copy("package.json");
      boolean installed =
          run(List.of("npm", "install", "--no-audit", "--no-fund", "--prefer-offline"), "npm", 120);
      assumeTrue(installed, "skipped: npm cannot install; see " + FOLDER.resolve("npm.log"));
    } catch (IOException e) {
      throw new UncheckedIOException(e);
    }
  }

  /** A program on the path. */
  static Optional<Path> find(String program) {
    return List.of(System.getenv().getOrDefault("PATH", "").split(File.pathSeparator)).stream()
        .map(folder -> Path.of(folder, program))
        .filter(Files::isExecutable)
        .findFirst();
  }

  private static void copy(String name) throws IOException {
    try (InputStream in = NodeScripts.class.getResourceAsStream("clients/" + name)) {
      if (in == null) {
        throw new AssertionError("no resource clients/" + name);
      }
      Files.copy(in, FOLDER.resolve(name), StandardCopyOption.REPLACE_EXISTING);
    }
  }

  /** What a script prints, as JSON. */
  static JsonNode run(String script, String... arguments) {
    try {
      copy(script);
      List<String> command = new ArrayList<>(List.of("node", script));
      command.addAll(List.of(arguments));
      if (!run(command, script, 120)) {
        throw new AssertionError(
            script + " failed: " + Files.readString(FOLDER.resolve(script + ".log")));
      }
      return TestServer.json(Files.readString(FOLDER.resolve(script + ".out")));
    } catch (IOException e) {
      throw new UncheckedIOException(e);
    }
  }

  /** Output goes to {@code name.out}, errors to {@code name.log}; whether it went well. */
  private static boolean run(List<String> command, String name, int seconds) throws IOException {
    Process process =
        new ProcessBuilder(command)
            .directory(FOLDER.toFile())
            .redirectOutput(Redirect.to(FOLDER.resolve(name + ".out").toFile()))
            .redirectError(Redirect.to(FOLDER.resolve(name + ".log").toFile()))
            .start();
    try {
      if (process.waitFor(seconds, TimeUnit.SECONDS)) {
        return process.exitValue() == 0;
      }
      process.destroyForcibly();
      Files.writeString(
          FOLDER.resolve(name + ".log"),
          "not done within " + seconds + " seconds",
          StandardCharsets.UTF_8);
      return false;
    } catch (InterruptedException e) {
      throw new IllegalStateException(e);
    }
  }
}
