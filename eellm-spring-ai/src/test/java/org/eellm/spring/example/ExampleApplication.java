package org.eellm.spring.example;

import org.springframework.ai.chat.client.ChatClient;
import org.springframework.boot.SpringApplication;
import org.springframework.boot.autoconfigure.SpringBootApplication;
import org.springframework.web.bind.annotation.GetMapping;
import org.springframework.web.bind.annotation.RequestParam;
import org.springframework.web.bind.annotation.RestController;

/** The application of docs/java-frameworks.md. */
@SpringBootApplication
@RestController
public class ExampleApplication {
  enum Color {
    RED,
    GREEN
  }

  record Circle(int radius, Color color) {}

  private final ChatClient chat;

  ExampleApplication(ChatClient.Builder builder) {
    chat = builder.build();
  }

  public static void main(String[] args) {
    SpringApplication.run(ExampleApplication.class, args);
  }

  @GetMapping("/ask")
  String ask(@RequestParam String question) {
    return chat.prompt(question).call().content();
  }

  @GetMapping("/circle")
  Circle circle(@RequestParam String question) {
    return chat.prompt(question).call().entity(Circle.class);
  }
}
