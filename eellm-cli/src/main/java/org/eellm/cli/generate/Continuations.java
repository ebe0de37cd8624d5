package org.eellm.cli.generate;

import java.util.ArrayList;
import java.util.List;
import java.util.function.Consumer;
import org.eellm.config.HeadId;
import org.eellm.decode.token.Detokenizer;
import org.eellm.decode.token.GeneratedToken;
import org.eellm.decode.token.TextStream;
import org.eellm.decode.token.TokenListener.Reaction;

/** The texts of several requests as their tokens come. */
final class Continuations {
  private final List<TextStream> streams = new ArrayList<>();
  private final List<List<Piece>> pieces = new ArrayList<>();
  private Consumer<Piece> listener = piece -> {};

  /**
   * A bit of text.
   *
   * @param head the head whose token made it certain
   * @param drafted whether that is an exit that drafted the token
   */
  record Piece(String text, HeadId head, boolean drafted) {

    /** The text in the colour of where it came from. */
    String painted(ExitColors colors) {
      return drafted ? colors.paintDraft(text) : colors.paint(text, head);
    }
  }

  /** Adds the next request's text. */
  void add(Detokenizer detokenizer, List<String> stops) {
    streams.add(new TextStream(detokenizer, stops));
    pieces.add(new ArrayList<>());
  }

  /** Who is told of the pieces that are yet to come. */
  void listen(Consumer<Piece> to) {
    listener = to;
  }

  /** Takes a request's next token; stops the request where a stop string has come. */
  Reaction accept(int request, GeneratedToken token) {
    TextStream stream = streams.get(request);
    put(request, new Piece(stream.append(token.id()), token.head(), token.drafted()));
    return stream.stopped() ? Reaction.STOP : Reaction.CONTINUE;
  }

  /** Ends all texts. */
  void finish() {
    for (int i = 0; i < streams.size(); i++) {
      String rest = streams.get(i).finish();
      if (!rest.isEmpty()) {
        Piece last = pieces.get(i).getLast();
        put(i, new Piece(rest, last.head(), last.drafted()));
      }
    }
  }

  private void put(int request, Piece piece) {
    pieces.get(request).add(piece);
    listener.accept(piece);
  }

  /** A request's text so far. */
  String text(int request) {
    return String.join("", pieces.get(request).stream().map(Piece::text).toList());
  }

  /** A request's text so far, every piece in its head's colour. */
  String painted(int request, ExitColors colors) {
    return String.join(
        "", pieces.get(request).stream().map(piece -> piece.painted(colors)).toList());
  }
}
