package org.eellm.data.tokenizer;

import com.fasterxml.jackson.databind.JsonNode;
import java.nio.charset.StandardCharsets;
import java.util.List;
import java.util.Optional;
import java.util.Set;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import org.eellm.data.DataException;
import org.eellm.file.Shown;

/**
 * Turns a piece of a vocabulary into the bytes that it stands for, as the decoders of a {@code
 * tokenizer.json} say.
 *
 * @param parts the decoders, in the order in which they apply
 * @param place what messages call the file
 */
record PieceDecoder(List<JsonNode> parts, String place) {
  private static final Pattern BYTE_PIECE = Pattern.compile("<0x([0-9A-Fa-f]{2})>");
  private static final int MAX_PARTS = 16;

  private static final Set<String> KNOWN =
      Set.of("ByteFallback", "ByteLevel", "Fuse", "Metaspace", "Replace", "Strip", "WordPiece");

  /** Pieces of words that stand close to what is before them. */
  private static final Set<String> CLOSE_PIECES = Set.of(".", "?", "!", ",", "n't");

  /**
   * The decoder that a file describes.
   *
   * @param decoder a decoder, or a sequence of them
   * @throws DataException if one is unknown, or could make a token's text long
   */
  static PieceDecoder of(JsonNode decoder, String place) {
    PieceDecoder all = new PieceDecoder(TokenizerReader.parts(decoder, "decoders"), place);
    if (all.parts.isEmpty()) {
      throw all.unsupported(decoder);
    }
    all.requireShort();
    return all;
  }

  private void requireShort() {
    if (parts.size() > MAX_PARTS) {
      throw new DataException(
          "%s: decoder: has %d parts; %d are supported".formatted(place, parts.size(), MAX_PARTS));
    }
    for (JsonNode part : parts) {
      if (!KNOWN.contains(part.path("type").asText())) {
        throw unsupported(part);
      }
      boolean replaces = part.path("type").asText().equals("Replace");
      String from = part.path("pattern").path("String").asText();
      if (replaces && (from.isEmpty() || part.path("content").asText().length() > from.length())) {
        throw new DataException(
            "%s: decoder Replace: %s is not supported; a String is, and a content that is no longer"
                .formatted(place, Shown.of(part)));
      }
      if (part.path("replacement").asText("\u2581").isEmpty()) {
        throw new DataException(place + ": decoder Metaspace: replacement is empty");
      }
    }
  }

  private DataException unsupported(JsonNode decoder) {
    return new DataException(
        "%s: decoder %s is not supported; ByteLevel, Metaspace, WordPiece and SentencePiece's sequence are"
            .formatted(place, Shown.of(decoder.path("type").asText("null"))));
  }

  /** The bytes of a piece. */
  byte[] bytes(String piece) {
    String text = piece;
    for (JsonNode part : parts) {
      switch (part.path("type").asText()) {
        case "ByteLevel" -> {
          Optional<byte[]> bytes = ByteAlphabet.bytes(text);
          if (bytes.isPresent()) {
            return bytes.get();
          }
        }
        case "ByteFallback" -> {
          Matcher matcher = BYTE_PIECE.matcher(text);
          if (matcher.matches()) {
            return new byte[] {(byte) Integer.parseInt(matcher.group(1), 16)};
          }
        }
        case "Replace" ->
            text =
                text.replace(
                    part.path("pattern").path("String").asText(), part.path("content").asText());
        case "WordPiece" -> text = word(text, part);
        case "Metaspace" -> text = text.replace(part.path("replacement").asText("\u2581"), " ");
        default -> {} // about the whole text
      }
    }
    return text.getBytes(StandardCharsets.UTF_8);
  }

  /** A piece that begins a word has a blank before it, which punctuation loses. */
  private static String word(String piece, JsonNode part) {
    String prefix = part.path("prefix").asText("##");
    if (!prefix.isEmpty() && piece.startsWith(prefix)) {
      return piece.substring(prefix.length());
    }
    return part.path("cleanup").asBoolean(true) && CLOSE_PIECES.contains(piece)
        ? piece
        : " " + piece;
  }

  /** Whether a text loses the blank that it begins with. */
  boolean dropsLeadingBlank() {
    return parts.stream()
        .anyMatch(
            part ->
                switch (part.path("type").asText()) {
                  case "WordPiece" -> true;
                  case "Strip" -> part.path("start").asInt() > 0;
                  case "Metaspace" ->
                      part.path("add_prefix_space").asBoolean(true)
                          && !part.path("prepend_scheme").asText().equals("never");
                  default -> false;
                });
  }
}
