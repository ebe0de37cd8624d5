package org.eellm.golden;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.file.Path;
import java.util.List;
import java.util.stream.Stream;
import java.util.stream.StreamSupport;

/**
 * Small Llamas without exits that have learned stories, in Hugging Face's layout, with what they
 * are known to say. {@code src/test/python/make_stories.py} has trained the one of {@code
 * src/test/resources/stories}.
 */
public final class Stories {
  private Stories() {}

  /** The repository's own model. */
  public static Path folder() {
    return Resources.folder("/stories/config.json");
  }

  /** Its folder, and that of stories260K, which others have trained, where it is at hand. */
  public static Stream<Path> all() {
    return Stream.concat(Stream.of(folder()), SharedFiles.find("models/stories260K").stream());
  }

  /** The beginning of a sequence, and the text that the model greedily writes from there. */
  public static List<Integer> known(Path model) {
    return StreamSupport.stream(golden(model).get("ids").spliterator(), false)
        .map(JsonNode::asInt)
        .toList();
  }

  /** What else is known of a model. */
  public static JsonNode golden(Path model) {
    try {
      return new ObjectMapper().readTree(model.resolve("golden.json").toFile());
    } catch (IOException e) {
      throw new UncheckedIOException(e);
    }
  }
}
