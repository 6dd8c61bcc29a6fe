package console

func (s *server) signInRoutes() {}
