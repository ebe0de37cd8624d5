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
import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.concurrent.ConcurrentHashMap;
import java.util.concurrent.TimeUnit;

/** Scripts for Node.js with what npm installs for them, in a folder of {@code target}. */
public final class NodeScripts {
  private static final List<String> INSTALL =
      List.of(
          "npm",
          "install",
          "--omit=optional",
          "--ignore-scripts",
          "--no-audit",
          "--no-fund",
          "--prefer-offline");

  /** What npm has been asked to install, by its folder, and whether it has. */
  private static final Map<Path, Boolean> INSTALLED = new ConcurrentHashMap<>();

  private final Class<?> test;
  private final String name;
  private final Path folder;

  private NodeScripts(Class<?> test, String name) {
    this.test = test;
    this.name = name;
    this.folder = Path.of("target", name).toAbsolutePath();
  }

  /**
   * Installs, once; a test that needs it is skipped where Node.js, npm or its packages are absent.
   *
   * @param test beside whose resources the folder is
   * @param name of the folder, which has scripts and their {@code package.json}
   */
  public static NodeScripts install(Class<?> test, String name) {
    assumeTrue(find("node").isPresent() && find("npm").isPresent(), "skipped: needs node and npm");
    NodeScripts scripts = new NodeScripts(test, name);
    assumeTrue(
        INSTALLED.computeIfAbsent(scripts.folder, _ -> scripts.install()),
        "skipped: npm cannot install; see " + scripts.folder.resolve("npm.log"));
    return scripts;
  }

  private boolean install() {
    try {
      Files.createDirectories(folder);
      copy("package.json");
      return run(INSTALL, "npm", 120);
    } catch (IOException e) {
      throw new UncheckedIOException(e);
    }
  }

  /**
   * Scripts that use what is installed in a folder; a test that needs it is skipped without
   * Node.js.
   *
   * @param modules the folder {@code node_modules}
   */
  static NodeScripts with(Class<?> test, String name, Path modules) throws IOException {
    assumeTrue(find("node").isPresent(), "skipped: needs node");
    NodeScripts scripts = new NodeScripts(test, name);
    Files.createDirectories(scripts.folder);
    Path link = scripts.folder.resolve("node_modules");
    Files.deleteIfExists(link);
    Files.createSymbolicLink(link, modules.toAbsolutePath());
    return scripts;
  }

  /** A program on the path. */
  static Optional<Path> find(String program) {
    return List.of(System.getenv().getOrDefault("PATH", "").split(File.pathSeparator)).stream()
        .map(folder -> Path.of(folder, program))
        .filter(Files::isExecutable)
        .findFirst();
  }

  private void copy(String file) throws IOException {
    try (InputStream in = test.getResourceAsStream(name + "/" + file)) {
      if (in == null) {
        throw new AssertionError("no resource " + name + "/" + file);
      }
      Files.copy(in, folder.resolve(file), StandardCopyOption.REPLACE_EXISTING);
    }
  }

  /** What a script prints, as JSON. */
  public JsonNode run(String script, String... arguments) {
    return run(Duration.ofSeconds(120), script, arguments);
  }

  /** The same of one that may take longer. */
  public JsonNode run(Duration limit, String script, String... arguments) {
    try {
      copy(script);
      List<String> command = new ArrayList<>(List.of("node", script));
      command.addAll(List.of(arguments));
      if (!run(command, script, limit.toSeconds())) {
        throw new AssertionError(
            script + " failed: " + Files.readString(folder.resolve(script + ".log")));
      }
      return TestServer.json(Files.readString(folder.resolve(script + ".out")));
    } catch (IOException e) {
      throw new UncheckedIOException(e);
    }
  }

  /** Output goes to {@code log.out}, errors to {@code log.log}; whether it went well. */
  private boolean run(List<String> command, String log, long seconds) throws IOException {
    Process process =
        new ProcessBuilder(command)
            .directory(folder.toFile())
            .redirectOutput(Redirect.to(folder.resolve(log + ".out").toFile()))
            .redirectError(Redirect.to(folder.resolve(log + ".log").toFile()))
            .start();
    try {
      if (process.waitFor(seconds, TimeUnit.SECONDS)) {
        return process.exitValue() == 0;
      }
      process.destroyForcibly();
      Files.writeString(
          folder.resolve(log + ".log"),
          "not done within " + seconds + " seconds",
          StandardCharsets.UTF_8);
      return false;
    } catch (InterruptedException e) {
      throw new IllegalStateException(e);
    }
  }
}
