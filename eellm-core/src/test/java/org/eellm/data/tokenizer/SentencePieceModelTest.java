package org.eellm.data.tokenizer;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import com.google.protobuf.CodedOutputStream;
import java.io.ByteArrayOutputStream;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.Random;
import org.eellm.data.DataException;
import org.eellm.golden.Resources;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

final class SentencePieceModelTest {
  private static final Path FOLDER = Resources.folder("/tokenizers/texts.json");

  @TempDir private Path folder;

  /** A message's fields. */
  @FunctionalInterface
  private interface Fields {
    void write(CodedOutputStream out) throws IOException;
  }

  private static byte[] message(Fields fields) throws IOException {
    ByteArrayOutputStream bytes = new ByteArrayOutputStream();
    CodedOutputStream out = CodedOutputStream.newInstance(bytes);
    fields.write(out);
    out.flush();
    return bytes.toByteArray();
  }

  private static void piece(CodedOutputStream out, String text, float score, int type)
      throws IOException {
    out.writeByteArray(
        1,
        message(
            piece -> {
              piece.writeString(1, text);
              piece.writeFloat(2, score);
              piece.writeEnum(3, type);
            }));
  }

  /** A small model of byte pairs, with further fields. */
  private static byte[] model(Fields more) throws IOException {
    return message(
        out -> {
          piece(out, "<unk>", 0, 2);
          piece(out, "<s>", 0, 3);
          piece(out, "</s>", 0, 3);
          piece(out, "a", -2, 1);
          piece(out, "b", -3, 1);
          piece(out, "ab", -1, 1);
          out.writeByteArray(2, message(trainer -> trainer.writeEnum(3, 2)));
          more.write(out);
        });
  }

  private Tokenizer load(byte[] content) throws IOException {
    Files.write(folder.resolve("tokenizer.model"), content);
    return Tokenizer.load(folder);
  }

  private void assertRefused(Fields more, String message) throws IOException {
    byte[] content = model(more);
    assertThatThrownBy(() -> load(content))
        .isInstanceOf(DataException.class)
        .hasMessageStartingWith(folder.resolve("tokenizer.model") + ": ")
        .hasMessageContaining(message)
        .hasMessageNotContaining("\n");
  }

  @Test
  void load_whatNoTokenizerJsonSays_isRefusedByName() throws IOException {
    assertRefused(
        out -> out.writeByteArray(3, message(rules -> rules.writeByteArray(2, new byte[4]))),
        "normalizer Precompiled: precompiled_charsmap: has no trie of the length that it tells");
    assertRefused(
        out -> out.writeByteArray(2, message(trainer -> trainer.writeEnum(3, 4))),
        "trainer_spec.model_type: 4");
    assertRefused(
        out -> out.writeByteArray(2, message(trainer -> trainer.writeBool(24, true))),
        "trainer_spec.treat_whitespace_as_suffix is not supported");
    assertRefused(
        out -> out.writeByteArray(3, message(normalizer -> normalizer.writeBool(5, false))),
        "normalizer_spec.escape_whitespaces: false is not supported");
    assertRefused(
        out -> out.writeByteArray(5, message(rules -> rules.writeByteArray(2, new byte[1]))),
        "denormalizer_spec is not supported");
    assertRefused(out -> piece(out, "a", 0, 1), "the piece 'a' is there twice");
    assertRefused(out -> piece(out, "x".repeat(257), 0, 1), "piece 6 has 257 characters");
    assertRefused(out -> piece(out, "x", Float.NaN, 1), "piece 6 has the type 1 and the score NaN");
    assertRefused(out -> piece(out, "x", 0, 7), "piece 6 has the type 7");
    assertRefused(out -> piece(out, "<x>\u2581", 0, 4), "piece '<x>\u2581' has blanks in it");
  }

  @Test
  void load_filesBeside_haveTheirTokens() throws IOException {
    Files.writeString(folder.resolve("added_tokens.json"), "{\"<tool>\": 7, \"<end>\": 6}");
    Files.writeString(folder.resolve("special_tokens_map.json"), "{\"eos_token\": \"<end>\"}");
    Tokenizer tokenizer = load(model(out -> {}));

    assertThat(tokenizer.vocabSize()).isEqualTo(8);
    assertThat(tokenizer.endOfDocument()).isEqualTo(2); // the model's own stands before the map's
    assertThat(tokenizer.beginningOfSequence()).hasValue(1);
    assertThat(tokenizer.encode("ab<tool>")).endsWith(5, 7);
    Files.writeString(folder.resolve("tokenizer_config.json"), "{\"eos_token\": \"<end>\"}");
    assertThat(Tokenizer.load(folder).endOfDocument()).isEqualTo(6);
  }

  @ParameterizedTest
  @ValueSource(strings = {"pieces", "pieces_with_users", "unigram"})
  void save_pieces_areReadBackAlike(String kind) throws IOException {
    Tokenizer own = Tokenizer.load(FOLDER.resolve(kind));
    own.save(folder);
    Tokenizer read = Tokenizer.load(folder);

    assertThat(read.vocabSize()).isEqualTo(own.vocabSize());
    String text = "It was   the best\n\nof <sep> times: naïve 日本 🦙";
    assertThat(read.encode(text)).isEqualTo(own.encode(text));
    assertThat(read.decode(read.encode(text)))
        .isEqualTo(kind.equals("unigram") ? text.replaceAll(" +", " ") : text);
    assertThat(read.beginningOfSequence()).hasValue(1);
    assertThat(read.endOfDocument()).isEqualTo(2);
  }

  /** Whatever a damaged file holds, it is a tokenizer or is refused in one line. */
  @Test
  void load_damagedModels_areRefusedOrRead() throws IOException {
    byte[] whole = Files.readAllBytes(FOLDER.resolve("pieces/tokenizer.model"));
    Random random = new Random(7);
    int refused = 0;
    for (int i = 0; i < 300; i++) {
      byte[] damaged =
          Arrays.copyOf(whole, i % 3 == 0 ? random.nextInt(whole.length) : whole.length);
      for (int j = 0; j < 3 && damaged.length > 0; j++) {
        damaged[random.nextInt(damaged.length)] = (byte) random.nextInt();
      }
      try {
        assertThat(load(damaged).encode("the end")).isNotNull();
      } catch (DataException e) {
        refused++;
        assertThat(e.getMessage()).startsWith(folder.toString()).doesNotContain("\n");
      }
    }
    assertThat(refused).isBetween(100, 300);
  }
}
