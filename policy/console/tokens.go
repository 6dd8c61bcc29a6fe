package console

func (s *server) tokenRoutes() {}
