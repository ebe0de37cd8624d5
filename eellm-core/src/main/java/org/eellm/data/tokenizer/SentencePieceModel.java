package org.eellm.data.tokenizer;

import com.fasterxml.jackson.databind.node.ObjectNode;
import com.google.protobuf.ByteString;
import com.google.protobuf.CodedInputStream;
import com.google.protobuf.WireFormat;
import java.io.IOException;
import java.util.ArrayList;
import java.util.Base64;
import java.util.HashSet;
import java.util.List;
import java.util.Set;
import org.eellm.data.DataException;
import org.eellm.file.Shown;
import org.eellm.gguf.GgufException;
import org.eellm.gguf.SentencePieces;
import org.eellm.gguf.SentencePieces.Rules;

/**
 * SentencePiece's own file, {@code tokenizer.model}: a protobuf message of pieces, of what they
 * were trained with, and of how texts are normalized.
 */
final class SentencePieceModel {
  /** The largest known files have a third of this. */
  static final int MAX_BYTES = 16_000_000;

  /** Characters of a piece, which is cut at each place for the pairs that make it. */
  private static final int MAX_PIECE = 256;

  private static final int UNIGRAM = 1;
  private static final int BYTE_PAIRS = 2;

  private final String place;
  private final List<String> texts = new ArrayList<>();
  private final List<Integer> types = new ArrayList<>();
  private final List<Double> scores = new ArrayList<>();

  // The defaults of SentencePiece's definition.
  private int model = UNIGRAM;
  private boolean byteFallback;
  private int begin = 1;
  private int end = 2;
  private boolean addsBlank = true;
  private boolean trims = true;
  private String compiledMap = "";

  private SentencePieceModel(String place) {
    this.place = place;
  }

  /**
   * Reads a model.
   *
   * @param config the content of {@code tokenizer_config.json}; gets what it does not say of the
   *     tokens that begin and end a text
   * @param place the file's name for messages
   * @return what would be in {@code tokenizer.json}
   * @throws DataException if it is damaged, or cannot be said there
   */
  static ObjectNode read(byte[] content, ObjectNode config, String place) {
    SentencePieceModel model = new SentencePieceModel(place);
    try {
      CodedInputStream fields = CodedInputStream.newInstance(content);
      for (int tag = fields.readTag(); tag != 0; tag = fields.readTag()) {
        switch (WireFormat.getTagFieldNumber(tag)) {
          case 1 -> model.piece(fields.readBytes());
          case 2 -> model.trainer(fields.readBytes());
          case 3 -> model.normalizer(fields.readBytes());
          case 5 -> model.denormalizer(fields.readBytes());
          default -> fields.skipField(tag);
        }
      }
      return model.file(config);
    } catch (IOException e) { // of protobuf, which says so of damaged content
      throw new DataException(
          "%s: is neither a SentencePiece model nor tiktoken's ranks: %s"
              .formatted(place, Shown.of(String.valueOf(e.getMessage()))),
          e);
    } catch (GgufException e) {
      throw new DataException(place + ": " + e.getMessage(), e);
    }
  }

  private void piece(ByteString content) throws IOException {
    CodedInputStream fields = content.newCodedInput();
    String text = "";
    int type = SentencePieces.ORDINARY;
    double score = 0;
    for (int tag = fields.readTag(); tag != 0; tag = fields.readTag()) {
      switch (WireFormat.getTagFieldNumber(tag)) {
        case 1 -> text = fields.readStringRequireUtf8();
        case 2 -> score = fields.readFloat();
        case 3 -> type = fields.readEnum();
        default -> fields.skipField(tag);
      }
    }
    if (text.isEmpty() || text.length() > MAX_PIECE) {
      throw refusal(
          "piece %d has %d characters; it may have 1 to %d"
              .formatted(texts.size(), text.length(), MAX_PIECE));
    }
    if (type < SentencePieces.ORDINARY || type > SentencePieces.BYTE || !Double.isFinite(score)) {
      throw refusal(
          "piece %d has the type %d and the score %s".formatted(texts.size(), type, score));
    }
    texts.add(text);
    types.add(type);
    scores.add(score);
  }

  private void trainer(ByteString content) throws IOException {
    CodedInputStream fields = content.newCodedInput();
    for (int tag = fields.readTag(); tag != 0; tag = fields.readTag()) {
      switch (WireFormat.getTagFieldNumber(tag)) {
        case 3 -> model = fields.readEnum();
        case 24 -> refuse(fields.readBool(), "trainer_spec.treat_whitespace_as_suffix");
        case 35 -> byteFallback = fields.readBool();
        case 41 -> begin = fields.readInt32();
        case 42 -> end = fields.readInt32();
        default -> fields.skipField(tag);
      }
    }
  }

  private void normalizer(ByteString content) throws IOException {
    CodedInputStream fields = content.newCodedInput();
    for (int tag = fields.readTag(); tag != 0; tag = fields.readTag()) {
      switch (WireFormat.getTagFieldNumber(tag)) {
        case 2 -> compiledMap = Base64.getEncoder().encodeToString(fields.readByteArray());
        case 3 -> addsBlank = fields.readBool();
        case 4 -> trims = fields.readBool();
        case 5 -> refuse(!fields.readBool(), "normalizer_spec.escape_whitespaces: false");
        default -> fields.skipField(tag);
      }
    }
  }

  private void denormalizer(ByteString content) throws IOException {
    CodedInputStream fields = content.newCodedInput();
    for (int tag = fields.readTag(); tag != 0; tag = fields.readTag()) {
      if (WireFormat.getTagFieldNumber(tag) == 2) {
        refuse(!fields.readBytes().isEmpty(), "denormalizer_spec");
      } else {
        fields.skipField(tag);
      }
    }
  }

  private void refuse(boolean there, String what) {
    if (there) {
      throw refusal(
          what
              + " is not supported; save the tokenizer as tokenizer.json, as save_pretrained does");
    }
  }

  private DataException refusal(String problem) {
    return new DataException(place + ": " + problem);
  }

  private ObjectNode file(ObjectNode config) {
    refuse(
        model != UNIGRAM && model != BYTE_PAIRS,
        "trainer_spec.model_type: %d (1 is unigram, 2 byte pairs)".formatted(model));
    Set<String> seen = new HashSet<>();
    for (String text : texts) {
      if (!seen.add(text)) {
        throw refusal("the piece '%s' is there twice".formatted(Shown.of(text)));
      }
    }
    name(config, "bos_token", begin);
    name(config, "eos_token", end);
    if (!config.has("add_bos_token")) {
      config.put("add_bos_token", config.hasNonNull("bos_token"));
    }
    return new SentencePieces(
            texts,
            types,
            scores,
            new Rules(model == UNIGRAM, byteFallback, addsBlank, trims, compiledMap))
        .file();
  }

  private void name(ObjectNode config, String field, int id) {
    if (!config.has(field)
        && id >= 0
        && id < texts.size()
        && types.get(id) == SentencePieces.CONTROL) {
      config.put(field, texts.get(id));
    }
  }
}
