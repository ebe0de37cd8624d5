package org.eellm.cli.generate;

import java.util.ArrayList;
import java.util.List;
import org.eellm.decode.token.Detokenizer;
import org.eellm.decode.token.GeneratedToken;
import org.eellm.decode.token.TextStream;
import org.eellm.decode.token.TokenListener.Reaction;

/** The texts of several requests as their tokens come. */
final class Continuations {
  private final List<TextStream> streams = new ArrayList<>();
  private final List<List<Piece>> pieces = new ArrayList<>();
  private Listener listener = (text, head) -> {};

  /**
   * A bit of text.
   *
   * @param head name of the head whose token made it certain, or {@link ExitColors#DRAFT}
   */
  private record Piece(String text, String head) {}

  /** Hears of every piece. */
  @FunctionalInterface
  interface Listener {
    void onPiece(String text, String head);
  }

  /** Adds the next request's text. */
  void add(Detokenizer detokenizer, List<String> stops) {
    streams.add(new TextStream(detokenizer, stops));
    pieces.add(new ArrayList<>());
  }

  /** Who is told of the pieces that are yet to come. */
  void listen(Listener to) {
    listener = to;
  }

  /** Takes a request's next token; stops the request where a stop string has come. */
  Reaction accept(int request, GeneratedToken token) {
    TextStream stream = streams.get(request);
    put(request, stream.append(token.id()), source(token));
    return stream.stopped() ? Reaction.STOP : Reaction.CONTINUE;
  }

  /** Where a token came from: an exit that drafted it, or the head that it left at. */
  private static String source(GeneratedToken token) {
    return token.drafted() ? ExitColors.DRAFT : token.head();
  }

  /** Ends all texts. */
  void finish() {
    for (int i = 0; i < streams.size(); i++) {
      String rest = streams.get(i).finish();
      if (!rest.isEmpty()) {
        put(i, rest, pieces.get(i).getLast().head());
      }
    }
  }

  private void put(int request, String text, String head) {
    pieces.get(request).add(new Piece(text, head));
    listener.onPiece(text, head);
  }

  /** A request's text so far. */
  String text(int request) {
    return String.join("", pieces.get(request).stream().map(Piece::text).toList());
  }

  /** A request's text so far, every piece in its head's colour. */
  String painted(int request, ExitColors colors) {
    return String.join(
        "",
        pieces.get(request).stream()
            .map(piece -> colors.paint(piece.text(), piece.head()))
            .toList());
  }
}
