package org.eellm.cli;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.within;
import static org.junit.jupiter.api.Assumptions.assumeTrue;

import com.fasterxml.jackson.databind.ObjectMapper;
import java.io.IOException;
import java.io.PrintWriter;
import java.io.StringWriter;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.FloatBuffer;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Optional;
import java.util.Set;
import java.util.stream.StreamSupport;
import org.eellm.config.TrainConfig.Device;
import org.eellm.generate.ExitPolicies;
import org.eellm.generate.Generator;
import org.eellm.generate.Limits;
import org.eellm.generate.Request;
import org.eellm.generate.Sampler;
import org.eellm.generate.TokenListener;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import picocli.CommandLine;

/** A real, trained Llama without exits, loaded as it is, and what it is known to say. */
final class StoriesTest {
  private static final Path STORIES = Path.of("../shared/models/stories260K");

  private List<Integer> known = List.of(); // BOS, then the greedy text

  @BeforeEach
  void readKnownText() throws IOException {
    assumeTrue(Files.exists(STORIES), () -> "skipped: needs " + STORIES);
    known = ids(new ObjectMapper().readTree(STORIES.resolve("golden.json").toFile()).get("ids"));
  }

  private static List<Integer> ids(com.fasterxml.jackson.databind.JsonNode array) {
    return StreamSupport.stream(array.spliterator(), false).map(id -> id.asInt()).toList();
  }

  @Test
  void generate_greedily_writesTheKnownText() throws IOException {
    StringWriter out = new StringWriter();
    CommandLine commandLine = RootCommand.commandLine().setOut(new PrintWriter(out, true));
    int count = known.size() - 1;

    assertThat(
            Main.run(
                commandLine,
                "generate",
                "--model",
                STORIES.toString(),
                "--prompt",
                "",
                "--max-tokens",
                String.valueOf(count),
                "--json"))
        .isZero();

    var result = new ObjectMapper().readTree(out.toString());
    assertThat(ids(result.get("ids"))).isEqualTo(known.subList(1, known.size()));
    assertThat(result.get("text").asText())
        .startsWith("Once upon a time, there was a little girl named Lily.");
  }

  @Test
  void logits_ofTheKnownText_areTheKnownOnes() throws IOException {
    FloatBuffer logits = npy(STORIES.resolve("golden_logits.npy"));
    List<float[]> ours = new ArrayList<>();
    Sampler reading =
        said -> {
          ours.add(said.logits());
          return said.position() < known.size() ? known.get(said.position()) : 0;
        };
    try (LoadedModel model = LoadedModel.load(STORIES, Device.CPU, Optional.empty())) {
      int vocabulary = model.architecture().model().vocabSize();
      int positions = logits.remaining() / vocabulary;
      Generator.generate(
          model.decoder(),
          Limits.of(model.decoder()),
          List.of(
              new Request(known.subList(0, 1), positions, Set.of(), ExitPolicies.full(), reading)),
          TokenListener.none());

      assertThat(ours).hasSize(positions);
      for (float[] row : ours) {
        float[] expected = new float[vocabulary];
        logits.get(expected);
        assertThat(row).containsExactly(expected, within(1e-3f));
      }
    }
  }

  /** The float32 values of a NumPy file of version 1. */
  private static FloatBuffer npy(Path file) throws IOException {
    ByteBuffer bytes = ByteBuffer.wrap(Files.readAllBytes(file)).order(ByteOrder.LITTLE_ENDIAN);
    return bytes
        .position(10 + bytes.getShort(8))
        .slice()
        .order(ByteOrder.LITTLE_ENDIAN)
        .asFloatBuffer();
  }
}
