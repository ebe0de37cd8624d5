package org.eellm.data.tokenizer;

import ai.djl.huggingface.tokenizers.HuggingFaceTokenizer;
import ai.djl.huggingface.tokenizers.jni.TokenizersLibrary;
import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.node.ArrayNode;
import com.fasterxml.jackson.databind.node.ObjectNode;
import java.io.ByteArrayInputStream;
import java.io.IOException;
import java.lang.ref.Reference;
import java.nio.charset.StandardCharsets;
import java.util.Arrays;
import java.util.Map;
import java.util.Objects;
import java.util.Optional;
import org.eellm.data.DataException;
import org.eellm.data.tokenizer.word.BoundedPattern;
import org.eellm.data.tokenizer.word.LeadingBlank;
import org.eellm.file.Shown;
import org.jspecify.annotations.Nullable;

/**
 * Encodes with Hugging Face's own library, for every {@code tokenizer.json} that is more than
 * GPT-2's kind.
 *
 * <p>The library finds special tokens in any text and cannot be told not to. So it is given a copy
 * of the file from which their names are gone: those in the model's vocabulary are no longer
 * special, and those behind it, whose ids have to stay, get names that no text has.
 */
final class HuggingFaceEncoder implements Tokenizer.TextEncoder {
  static {
    // The library reports its users' machines to its makers unless this is set.
    System.setProperty("OPT_OUT_TRACKING", "true");
  }

  private final HuggingFaceTokenizer tokenizer;
  private final Optional<ObjectNode> continuing; // where that is another one
  private final String place;
  private volatile @Nullable HuggingFaceTokenizer continuation; // made when it is asked for

  private HuggingFaceEncoder(ObjectNode literal, String place) {
    this.place = place;
    tokenizer = tokenizer(literal, place);
    continuing = Optional.of(LeadingBlank.removed(literal)).filter(other -> !other.equals(literal));
  }

  private static HuggingFaceTokenizer tokenizer(ObjectNode literal, String place) {
    byte[] content = literal.toString().getBytes(StandardCharsets.UTF_8);
    try {
      return HuggingFaceTokenizer.newInstance(
          new ByteArrayInputStream(content), Map.of("padding", "false", "truncation", "false"));
    } catch (IOException | RuntimeException e) {
      throw new DataException(place + ": the tokenizers library cannot use it: " + firstLine(e), e);
    }
  }

  /**
   * An encoder.
   *
   * @param place the file's name for messages
   */
  static HuggingFaceEncoder of(TokenizerJson json, String place) {
    ObjectNode file = json.whole();
    ObjectNode literal = file.deepCopy();
    literal.putNull("truncation").putNull("padding").putNull("post_processor").putNull("decoder");
    TokenizerBounds.apply(literal, place);
    ArrayNode addedTokens = literal.putArray("added_tokens");
    for (JsonNode token : file.path("added_tokens")) {
      String name = token.path("content").asText();
      String hidden = "\uE000" + token.path("id") + "\uE001";
      if (!token.path("special").asBoolean()) {
        addedTokens.add(token);
      } else if (!json.pieces().contains(name)) {
        ObjectNode renamed = token.deepCopy();
        addedTokens.add(renamed.put("content", hidden));
      } else if (literal.path("model").path("vocab") instanceof ArrayNode pieces) {
        // A unigram model finds any of its pieces, which are by id.
        ((ArrayNode) pieces.path(token.path("id").asInt())).set(0, hidden);
      }
    }
    HuggingFaceEncoder encoder = new HuggingFaceEncoder(literal, place);
    addedTokens.forEach(token -> encoder.requireId(token, place));
    return encoder;
  }

  /**
   * The library does not take the ids of added tokens from the file: it counts on from the
   * vocabulary's size, or from the highest so far.
   */
  private void requireId(JsonNode token, String place) {
    String name = token.path("content").asText();
    int id = token.path("id").asInt();
    if (!token.path("special").asBoolean()
        && Arrays.stream(encode(name)).noneMatch(found -> found == id)) {
      throw new DataException(
          "%s: added_tokens: '%s' has the id %d, which does not follow those before it; sort added tokens by their ids, and fill gaps with special tokens"
              .formatted(place, Shown.of(name), id));
    }
  }

  /**
   * @throws DataException if the text is too long, or has what the vocabulary cannot say
   */
  @Override
  public int[] encode(String text) {
    return encode(text, tokenizer);
  }

  /**
   * @throws DataException as {@link #encode}
   */
  @Override
  public int[] encodeContinuation(String text) {
    return encode(text, continuing.map(this::continuation).orElse(tokenizer));
  }

  private HuggingFaceTokenizer continuation(ObjectNode file) {
    HuggingFaceTokenizer made = continuation;
    if (made == null) {
      synchronized (this) {
        made = continuation;
        if (made == null) {
          made = tokenizer(file, place);
          continuation = made;
        }
      }
    }
    return made;
  }

  private static int[] encode(String text, HuggingFaceTokenizer tokenizer) {
    if (text.length() > BoundedPattern.MAX_TEXT) {
      throw new DataException(
          "a text of %d characters is longer than the %d that this tokenizer takes at once; divide it"
              .formatted(text.length(), BoundedPattern.MAX_TEXT));
    }
    String wellFormed = Tokenizer.TextEncoder.wellFormed(text); // the library takes no other
    // HuggingFaceTokenizer.encode also copies names, masks and positions of all tokens into Java
    // objects, which takes more time than encoding.
    TokenizersLibrary library = TokenizersLibrary.LIB;
    try {
      long encoding = library.encode(tokenizer.getHandle(), wellFormed, false);
      try {
        long[] ids = library.getTokenIds(encoding);
        int[] result = new int[ids.length];
        for (int i = 0; i < result.length; i++) {
          result[i] = Math.toIntExact(ids[i]);
        }
        return result;
      } finally {
        library.deleteEncoding(encoding);
      }
    } catch (RuntimeException e) {
      throw new DataException("the text cannot be encoded: " + firstLine(e), e);
    } finally {
      Reference.reachabilityFence(tokenizer);
    }
  }

  private static String firstLine(Exception e) {
    String message = Objects.requireNonNullElse(e.getMessage(), e.toString());
    return Shown.of(message.lines().findFirst().orElse(""), 200);
  }
}
