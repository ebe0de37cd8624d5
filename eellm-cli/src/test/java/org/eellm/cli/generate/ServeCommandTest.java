package org.eellm.cli.generate;

import static org.assertj.core.api.Assertions.assertThat;

import java.io.IOException;
import java.io.StringWriter;
import java.net.InetAddress;
import java.net.ServerSocket;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import org.eellm.cli.Commands;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

/** What the command says before it has a model. */
final class ServeCommandTest {
  @TempDir private Path folder;

  private final StringWriter out = new StringWriter();
  private final StringWriter err = new StringWriter();

  private int serve(String... args) {
    List<String> all = new ArrayList<>(List.of("serve", "--model", "nowhere"));
    all.addAll(Arrays.asList(args));
    return Commands.run(out, err, all.toArray(String[]::new));
  }

  @ParameterizedTest
  @CsvSource(
      delimiter = '|',
      value = {
        "--batch-size 0 | --batch-size: 0 is below 1; use 1 or more",
        "--max-queued -1 | --max-queued: -1 is below 1; use 1 or more",
        "--temperature -1 | --temperature: -1.0 is negative; use 0 for the best token always, or",
        "--cache-tokens 0 | --cache-tokens: 0 is below 1; use 1 or more",
        "--max-client-connections 0 | --max-client-connections: 0 is below 1; use 1 or more",
        "--tls-key key.pem | --tls-certificate and --tls-key: HTTPS needs both; give the other one",
        "--tls-key a --tls-certificate nowhere.pem | --tls-certificate: 'nowhere.pem' cannot be"
            + " read",
        "--api-key a --api-key-file b | --api-key: has no effect beside --api-key-file",
        "--api-key-file nowhere.txt | --api-key-file: 'nowhere.txt' cannot be read",
        "--allow-origin app.example.com | --allow-origin: 'app.example.com' is no origin; give",
        "--allow-origin * --allow-origin http://a,http://b/ | --allow-origin: 'http://b/' is no",
        "--allow-host app.example.com:8080 | --allow-host: 'app.example.com:8080' has a port",
      })
  void serve_valueThatCannotBe_isRefusedBeforeItListens(String options, String message) {
    List<String> args = new ArrayList<>(List.of("--port", "0"));
    args.addAll(List.of(options.split(" ")));

    assertThat(serve(args.toArray(String[]::new))).isEqualTo(2);

    assertThat(err.toString()).startsWith("eellm: " + message).doesNotContain("loading");
  }

  @Test
  void serve_fileWithoutAKey_isRefused() throws IOException {
    Path file = Files.writeString(folder.resolve("keys"), "\n  \n");

    assertThat(serve("--api-key-file", file.toString())).isEqualTo(2);

    assertThat(err.toString()).contains("has no key; write one on each line");
  }

  private int serveFile(String yaml, String... args) throws IOException {
    Path file = Files.writeString(folder.resolve("serve.yaml"), yaml);
    List<String> all = new ArrayList<>(List.of("serve", "--config", file.toString()));
    all.addAll(Arrays.asList(args));
    return Commands.run(out, err, all.toArray(String[]::new));
  }

  @Test
  void serve_file_givesOptions() throws IOException {
    String yaml = "model: nowhere\nport: 0\nallow-host: [a, b]\nbatch-size: 0\n";

    assertThat(serveFile(yaml)).isEqualTo(2);

    assertThat(err.toString()).startsWith("eellm: --batch-size: 0 is below 1");
  }

  @Test
  void serve_commandLine_overrulesTheFile() throws IOException {
    assertThat(serveFile("model: nowhere\nbatch-size: 0\n", "--batch-size=-1")).isEqualTo(2);

    assertThat(err.toString()).startsWith("eellm: --batch-size: -1 is below 1");
  }

  @ParameterizedTest
  @CsvSource(
      delimiter = '|',
      value = {
        "prot: 1 | :1: prot: is no option that a file can give; eellm serve --help lists them",
        "config: a | :1: config: is no option that a file can give; eellm serve --help lists them",
        "help: true | :1: help: is no option that a file can give; eellm serve --help lists them",
        "port: | :1: port: has no value; give one, or leave the line out",
        "adapter: [a=1, b=2] | :1: adapter: has 2 values, and a file can give one; give them on the"
            + " command line",
        "'' | : is empty; give at least one option without its dashes, as in port: 8000",
      })
  void serve_fileThatIsWrong_isRefused(String yaml, String message) throws IOException {
    assertThat(serveFile(yaml, "--model", "nowhere")).isEqualTo(2);

    assertThat(err.toString()).startsWith("eellm: " + folder.resolve("serve.yaml") + message);
  }

  @ParameterizedTest
  @CsvSource({"0.0.0.0, '', true", "0.0.0.0, secret, false", "127.0.0.1, '', false"})
  void serve_toANetworkWithoutAKey_warns(String host, String key, boolean warns)
      throws IOException {
    try (ServerSocket taken = new ServerSocket(0, 1, InetAddress.getByName(host))) {
      List<String> args =
          new ArrayList<>(
              List.of("--host", host, "--port", Integer.toString(taken.getLocalPort())));
      if (!key.isEmpty()) {
        args.addAll(List.of("--api-key", key));
      }

      assertThat(serve(args.toArray(String[]::new))).isEqualTo(1);
    }
    assertThat(err.toString()).contains("cannot listen at " + host);
    assertThat(err.toString().contains("warning: everybody who can reach")).isEqualTo(warns);
  }

  @Test
  void serve_toAllPagesWithoutAKey_warns() throws IOException {
    try (ServerSocket taken = new ServerSocket(0, 1, InetAddress.getByName("127.0.0.1"))) {
      String port = Integer.toString(taken.getLocalPort());
      assertThat(serve("--port", port, "--allow-origin", "*")).isEqualTo(1);
      assertThat(err.toString())
          .startsWith("warning: every page in a browser that can reach 127.0.0.1 may use this")
          .contains("cannot listen at");
      err.getBuffer().setLength(0);
      assertThat(serve("--port", port, "--allow-origin", "http://a")).isEqualTo(1);
      assertThat(serve("--port", port, "--allow-origin", "*", "--api-key", "k")).isEqualTo(1);
    }
    assertThat(err.toString()).doesNotContain("warning");
  }
}
